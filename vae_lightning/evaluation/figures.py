"""The PNG files in a run's ``figures/`` folder."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vae_lightning.data.selection import places, spread
from vae_lightning.evaluation.kl_by_dimension import draw_kl
from vae_lightning.evaluation.latent_space import draw_latent_space
from vae_lightning.evaluation.pictures import pictures
from vae_lightning.models.encode_all import encode_all
from vae_lightning.models.vae import VAE
from vae_lightning.posteriors.distribution import Distribution
from vae_lightning.posteriors.statistics import mean_kl, mean_variances
from vae_lightning.streams import NormalStream, generator
from vae_lightning.whole_files import write_figure, write_file

__all__ = ["kl_of", "write_figures"]


def _encode_all(vae: VAE, images: Tensor) -> tuple[Distribution, Distribution]:
    """Return the posteriors of images ``(N, C, H, W)`` and the prior in single precision on the CPU."""
    posterior, prior = encode_all(vae, images)
    return posterior.map(torch.Tensor.float), prior.map(torch.Tensor.float)


def kl_of(vae: VAE, images: Tensor) -> Tensor:
    """Return the mean KL of images ``(N, C, H, W)`` as :func:`vae_lightning.posteriors.statistics.mean_kl` does."""
    return _kl(vae, *_encode_all(vae, images), len(images))


def _kl(vae: VAE, posterior: Distribution, prior: Distribution, count: int) -> Tensor:
    noise = NormalStream(generator(vae.seed, "posterior"), posterior.noise_size).draw(count)
    return mean_kl(posterior, prior, noise)


def write_figures(
    directory: Path,
    vae: VAE,
    batches: Iterable[Any],
    title: str,
    reconstructions: int,
    samples: int,
    embedded: int,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Write :func:`pictures`, ``latent_space.png`` and, if the KL is by dimension, ``kl_by_dimension.png``.

    Arguments:
        directory: where the files go.
        vae: the model.
        batches: ``(images, labels)``, the images ``(B, C, H, W)`` in [0, 1]; labels may be missing.
        title: description of the images.
        reconstructions: number of images shown above their reconstructions.
        samples: number of samples from the prior.
        embedded: number of images in ``latent_space.png``.

    Returns:
        The images of ``latent_space.png``, the means of their posteriors, and their labels, None if there are none.
    """
    images, labels = spread(batches, max(embedded, reconstructions), vae.image_shape)
    examples = vae.examples((images, labels))
    posterior, prior = _encode_all(vae, examples)
    mean = posterior.mean
    kl = _kl(vae, posterior, prior, len(images)) if vae.kl_by_dimension is None else vae.kl_by_dimension
    few = examples[places(len(images), reconstructions)]
    for picture in pictures(vae, few, title, samples, kl):
        write_file(directory / f"{picture.name}.png", picture.png())
    noise = NormalStream(generator(vae.seed, "prior"), prior.noise_size).draw(embedded)
    write_figure(directory / "latent_space.png", draw_latent_space(mean, labels, title, prior.rsample(noise)))
    if vae.factorised:
        write_figure(directory / "kl_by_dimension.png", draw_kl(kl, mean_variances(mean, vae.latent_dim), title))
    return images, mean, labels
