"""Pictures from a model: reconstructions, prior samples, traversals and the manifold."""

from typing import NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor
from torchvision.utils import make_grid

from vae_lightning.models.eval_mode import eval_mode
from vae_lightning.models.vae import VAE
from vae_lightning.posteriors.statistics import kl_per_dimension
from vae_lightning.streams import generator

__all__ = ["Picture", "draw_picture", "pictures"]

# Traversals: the maximum number of dimensions, and the values that each one takes.
DIMENSIONS, VALUES = 10, torch.linspace(-3, 3, 11)
# Images along one side of the manifold.
SIDE = 20
# Pixels of a picture per pixel of an image along a side, and the maximum number of pixels along a side of a picture.
ENLARGED, LARGEST = 2, 2000


class Picture(NamedTuple):
    """A grid of images.

    Attributes:
        name: name of the picture, for example for its file.
        title: description of the images.
        images: ``(N, C, H, W)``, in [0, 1], row by row.
        columns: number of images per row.
    """

    name: str
    title: str
    images: Tensor
    columns: int

    def grid(self) -> Tensor:
        """Return the grid as one image, ``(3, H, W)``."""
        grid: Tensor = make_grid(_visible(self.images), nrow=self.columns, padding=1, pad_value=0.5)
        return grid


def _visible(images: Tensor) -> Tensor:
    """Return images of one or three channels unchanged; put the channels of others side by side."""
    return images if images.shape[1] in (1, 3) else images.movedim(1, -2).flatten(-2)[:, None]


def pictures(
    vae: VAE, images: Tensor, what: str = "images", samples: int = 64, kl: Tensor | None = None
) -> list[Picture]:
    """Return pictures of reconstructions, of samples from the prior and of the latent space; decode in eval mode.

    - ``reconstructions``: the images above their reconstructions.
    - ``samples``: samples from the prior, always from the same noise, so that their progress can be seen.
    - ``traversals``: the first image's mu with one dimension at a time set to values from -3 to 3, one row for each of
      the ten dimensions with the largest KL.
    - ``manifold``, if there are two latent dimensions: images decoded from the quantiles of the prior (Auto-Encoding
      Variational Bayes, Kingma and Welling, 2014, figure 4; https://arxiv.org/abs/1312.6114).

    Arguments:
        vae: the model.
        images: ``(N, C, H, W)``, in [0, 1].
        what: description of the images, for the title.
        samples: number of samples.
        kl: KL by dimension, ``(latent_dim,)``; None for that of the images.
    """
    weights = next(vae.parameters())
    noise = torch.randn(samples, vae.latent_dim, generator=generator(vae.seed, "prior"))

    def decoded(z: Tensor) -> Tensor:
        return vae.likelihood.mean(vae.decode(z.to(weights))).float().cpu()

    with eval_mode(vae):
        posterior = vae.encode(images.to(weights))
        if kl is None:
            kl = kl_per_dimension(posterior.mu.cpu(), posterior.logvar.cpu())
        dimensions = kl.argsort(descending=True, stable=True)[:DIMENSIONS]
        moved = posterior.mu[0].cpu().repeat(len(dimensions), len(VALUES), 1)
        for row, dimension in zip(moved, dimensions, strict=True):
            row[:, dimension] = VALUES
        drawn = [
            Picture(
                "reconstructions",
                f"{what} over their reconstructions",
                torch.cat([images.float().cpu(), decoded(posterior.mu)]),
                len(images),
            ),
            Picture("samples", "samples from the prior", decoded(noise), 16),
            Picture(
                "traversals",
                f"each row moves one dimension from -3 to 3; from the top: {', '.join(map(str, dimensions.tolist()))}",
                decoded(moved.flatten(0, 1)),
                len(VALUES),
            ),
        ]
        if vae.latent_dim == 2:
            quantiles = torch.special.ndtri(torch.linspace(0.02, 0.98, SIDE))
            z = torch.cartesian_prod(quantiles.flip(0), quantiles).flip(1)
            title = "the latent plane by quantiles of the prior: dimension 0 to the right, dimension 1 upwards"
            drawn.append(Picture("manifold", title, decoded(z), SIDE))
    return drawn


def draw_picture(picture: Picture) -> Figure:
    """Draw the grid of a picture below its title."""
    grid, title = picture.grid(), picture.title
    dpi = 120
    scale = min(ENLARGED, LARGEST / max(grid.shape[1:])) / dpi
    height, width = (max(0.5, scale * size) for size in grid.shape[1:])  # inches
    width = max(width, 0.075 * len(title))
    figure = Figure(figsize=(width, height + 0.3), dpi=dpi)
    axes = figure.add_axes((0.01, 0.01, 0.98, height / (height + 0.3)))
    axes.imshow(
        grid.permute(1, 2, 0).numpy(),
        vmin=0,
        vmax=1,
        interpolation="nearest" if scale * dpi == ENLARGED else "antialiased",
    )
    axes.set_title(title, fontsize=9)
    axes.set_axis_off()
    return figure
