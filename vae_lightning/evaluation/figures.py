"""The PNG files in a run's ``figures/`` folder."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torch import Tensor

from vae_lightning.data.selection import places, spread
from vae_lightning.evaluation.kl_by_dimension import draw_kl
from vae_lightning.evaluation.latent_space import draw_latent_space
from vae_lightning.evaluation.pictures import draw_picture, pictures
from vae_lightning.models.eval_mode import eval_mode
from vae_lightning.models.vae import VAE
from vae_lightning.posteriors.gaussian import Gaussian
from vae_lightning.posteriors.statistics import kl_per_dimension
from vae_lightning.whole_files import write_figure

__all__ = ["encode_all", "write_figures"]


def encode_all(vae: VAE, images: Tensor) -> Gaussian:
    """Return the posteriors of images ``(N, C, H, W)`` on the CPU, encoded in eval mode."""
    with eval_mode(vae):
        return Gaussian(*(term.float().cpu() for term in vae.encode(images.to(next(vae.parameters())))))


def write_figures(
    directory: Path,
    vae: VAE,
    batches: Iterable[Any],
    title: str,
    reconstructions: int,
    samples: int,
    embedded: int,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Write :func:`pictures`, ``latent_space.png`` and ``kl_by_dimension.png``.

    Arguments:
        directory: where the files go.
        vae: the model.
        batches: ``(images, labels)``, the images ``(B, C, H, W)`` in [0, 1]; labels may be missing.
        title: description of the images.
        reconstructions: number of images shown above their reconstructions.
        samples: number of samples from the prior.
        embedded: number of images in ``latent_space.png``.

    Returns:
        The images of ``latent_space.png``, their mu and their labels, None if there are none.
    """
    images, labels = spread(batches, max(embedded, reconstructions), vae.image_shape)
    mu, logvar = encode_all(vae, images)
    kl = kl_per_dimension(mu, logvar) if vae.kl_by_dimension is None else vae.kl_by_dimension
    few = images[places(len(images), reconstructions)]
    drawn = {picture.name: draw_picture(picture) for picture in pictures(vae, few, title, samples, kl)}
    drawn |= {"latent_space": draw_latent_space(mu, labels, title), "kl_by_dimension": draw_kl(kl, title)}
    for name, figure in drawn.items():
        write_figure(directory / f"{name}.png", figure)
    return images, mu, labels
