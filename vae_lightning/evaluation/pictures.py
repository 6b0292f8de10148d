"""Pictures from a model: reconstructions, prior samples, traversals and the manifold."""

import io
import math
from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import torch
from matplotlib import get_data_path
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor
from torch.nn import functional as F

from vae_lightning.data.selection import places
from vae_lightning.models.eval_mode import eval_mode
from vae_lightning.models.vae import VAE
from vae_lightning.posteriors.posterior import Posterior
from vae_lightning.streams import generator
from vae_lightning.whole_files import COMPRESSION

__all__ = ["Picture", "pictures", "visible"]

# Traversals: the maximum number of latent variables, and the prior's quantiles that each one takes.
DIMENSIONS, LEVELS = 10, torch.special.ndtr(torch.linspace(-3, 3, 11, dtype=torch.float64))
# Samples that give the quantiles of a prior, where they have no formula.
QUANTILE_SAMPLES = 10_000
# Images along one side of the manifold.
SIDE = 20
# Pixels of a picture per pixel of an image along a side, and the maximum number of pixels along a side of a picture.
ENLARGED, LARGEST = 2, 2000
# The lines between the images of a grid.
GREY = 0.5
# Pixels of a file around the grid, those above it with the title, and the sizes of the letters of title and labels.
MARGIN, HEAD, LETTERS, SMALL = 8, 36, 15, 12


class Picture(NamedTuple):
    """A grid of images.

    Attributes:
        name: name of the picture, for example for its file.
        title: description of the images.
        images: ``(N, C, H, W)``, in [0, 1], row by row.
        columns: number of images per row.
        rows: labels at the left of the rows; none if empty.
        heads: labels above the columns; none if empty.
    """

    name: str
    title: str
    images: Tensor
    columns: int
    rows: Sequence[str] = ()
    heads: Sequence[str] = ()

    def grid(self) -> Tensor:
        """Return the grid as one image, ``(3, H, W)``: a grey line of one pixel around each image."""
        images = visible(self.images).expand(-1, 3, -1, -1)
        columns = min(self.columns, len(images))
        missing = -len(images) % columns
        framed = F.pad(images, (1, 0, 1, 0), value=GREY)  # above and to the left
        framed = torch.cat([framed, framed.new_full((missing, *framed.shape[1:]), GREY)])
        rows = framed.unflatten(0, (-1, columns))  # (rows, columns, 3, h, w)
        return F.pad(rows.permute(2, 0, 3, 1, 4).flatten(3).flatten(1, 2), (0, 1, 0, 1), value=GREY)

    def png(self) -> bytes:
        """Return the grid below its title, with its labels, as a PNG file; leave out labels that have no room.

        Matplotlib, which draws the plots, would take five times as long to paste the pixels.
        """
        grid, font, small = self.grid(), _font(LETTERS), _font(SMALL)
        coloured = self.images.shape[1] == 3
        scale = min(ENLARGED, LARGEST / max(grid.shape[1:]))
        height, width = (round(scale * size) for size in grid.shape[1:])
        pixels = (grid.permute(1, 2, 0) if coloured else grid[0]).clamp(0, 1).mul(255).byte()
        pasted = Image.fromarray(pixels.contiguous().cpu().numpy()).resize(
            (width, height), Image.Resampling.NEAREST if scale == ENLARGED else Image.Resampling.HAMMING
        )
        beside = max((round(small.getlength(row)) + MARGIN for row in self.rows), default=0)
        top = HEAD + (SMALL + MARGIN if self.heads else 0)
        whole = max(width + beside, round(font.getlength(self.title))) + 2 * MARGIN, height + top + MARGIN
        left = (whole[0] - width - beside) // 2 + beside
        image = Image.new(pasted.mode, whole, "white")
        image.paste(pasted, (left, top))
        draw = ImageDraw.Draw(image)
        draw.text((whole[0] / 2, HEAD - MARGIN), self.title, "black", font, anchor="md")
        cell = width / max(1, min(self.columns, len(self.images)))
        widest = max((small.getlength(head) + MARGIN for head in self.heads), default=0)
        for place, head in _with_room(self.heads, widest, cell):
            draw.text((left + (place + 0.5) * cell, top - MARGIN / 2), head, "black", small, anchor="md")
        cell = height / max(1, len(self.rows))
        for place, row in _with_room(self.rows, SMALL, cell):
            draw.text((left - MARGIN / 2, top + (place + 0.5) * cell), row, "black", small, anchor="rm")
        content = io.BytesIO()
        image.save(content, "PNG", compress_level=COMPRESSION)
        return content.getvalue()


def _with_room(labels: Sequence[str], size: float, cell: float) -> list[tuple[int, str]]:
    """Return the labels that have room beside each other, with their places: every n-th, starting with the first."""
    return [*enumerate(labels)][:: max(1, math.ceil(size / cell))]


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    """Return the font of matplotlib's figures."""
    return ImageFont.truetype(f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf", size)


def visible(images: Tensor) -> Tensor:
    """Return images of one or three channels unchanged; put the channels of others side by side."""
    return images if images.shape[1] in (1, 3) else images.movedim(1, -2).flatten(-2)[:, None]


def pictures(
    vae: VAE, images: Tensor, what: str = "images", samples: int = 64, kl: Tensor | None = None
) -> list[Picture]:
    """Return pictures of reconstructions, of samples from the prior and of the latent space; decode in eval mode.

    - ``reconstructions``: the images above their reconstructions.
    - ``samples``: samples from the prior, always from the same noise, so that their progress can be seen.
    - ``traversals``: the first image's posterior mean with one latent variable at a time set to quantiles of the prior
      (from -3 to 3 for N(0, I)), one row for each of the ten with the largest KL, or with the largest variance of the
      mean if the KL is not by dimension, or is not given and has no closed form. Discrete variables take each of their
      values, for several images side by side if they have few. With several layers of latents, the variables are those
      of the layer that the decoder sees.
    - ``manifold``, if there are two latent dimensions: images decoded from the quantiles of the prior (Auto-Encoding
      Variational Bayes, Kingma and Welling, 2014, figure 4; https://arxiv.org/abs/1312.6114).
    - ``pseudo_inputs``, if the prior has learned such images.

    Arguments:
        vae: the model.
        images: ``(N, C, H, W)``, in [0, 1], as :meth:`vae_lightning.VAE.examples` returns them. If the model sees
            classes, that of the first image is that of the traversals and of the manifold.
        what: description of the images, for the title.
        samples: number of samples.
        kl: KL by dimension, ``(latent_dim,)``, for the order of the traversals; None for that of the images.
    """
    weights = next(vae.parameters())
    noise = generator(vae.seed, "prior")

    def decoded(z: Tensor, given: Tensor) -> Tensor:
        return vae.likelihood.mean(vae.decode(vae.condition(z.to(weights), given.to(weights)))).float().cpu()

    classes = 1 if vae.classes is None else vae.classes
    columns = 16 if classes == 1 else max(1, samples // classes)
    labels = torch.arange(classes).repeat_interleave(columns) if classes > 1 else torch.zeros(samples, dtype=torch.long)
    asked = vae.examples((torch.zeros(len(labels), *vae.image_shape), labels))

    with eval_mode(vae):
        # In single precision, because torch has no quantiles of less.
        posterior = vae.encode(images.to(weights)).map(Tensor.float)
        prior = vae.prior_distribution().map(Tensor.float)
        mean = posterior.mean
        sampled = prior.rsample(torch.randn(len(labels), prior.noise_size, generator=noise).to(mean))
        many = torch.randn(QUANTILE_SAMPLES, prior.noise_size, generator=noise).to(mean)
        seen = mean[:, : vae.posterior.layer_sizes[0]]
        order = seen.var(0).unflatten(0, (vae.latent_dim, -1)).sum(-1) if len(seen) > 1 else torch.ones(vae.latent_dim)
        if kl is None:
            own = posterior.kl(prior)
            kl = None if own is None else own.cpu().double().mean(0)
        if kl is not None and vae.factorised:
            order = kl
        dimensions = order.argsort(descending=True, stable=True)[:DIMENSIONS].tolist()
        quantiles = prior.quantiles(LEVELS, many)
        # As many images side by side as fill a row.
        few = places(len(mean), max(1, len(LEVELS) // (vae.posterior.values or len(LEVELS))))
        moved = _moved(vae, mean[few], dimensions, quantiles)
        rows, count, values = moved.shape[:3]
        measure = "variance" if order is not kl else "KL"
        layer = "z" if seen.shape == mean.shape else "z1"
        target, heads = _heads(vae, quantiles, values)
        drawn = [
            Picture(
                "reconstructions",
                f"{what} over their reconstructions",
                torch.cat([vae.pixels(images).float().cpu(), decoded(mean, images)]),
                len(images),
            ),
            Picture(
                "samples",
                "samples from the prior" + (", a row for each class" if classes > 1 else ""),
                decoded(sampled, asked),
                columns,
            ),
            Picture(
                "traversals",
                f"one dimension of {layer} per row, set to {target}" + (f", for {count} images" if count > 1 else ""),
                decoded(moved.flatten(0, 2), images[few].repeat_interleave(values, 0).repeat(rows, 1, 1, 1)),
                count * values,
                [f"dimension {dimension}, {measure} {order[dimension]:.2f}" for dimension in dimensions],
                heads * count,
            ),
        ]
        real = not vae.posterior.values and type(vae.posterior).moved is Posterior.moved
        if vae.posterior.size == 2 and real:
            first, second = prior.quantiles(torch.linspace(0.02, 0.98, SIDE), many).T
            z = torch.cartesian_prod(second.flip(0), first).flip(1)
            title = "the latent plane: dimension 0 to the right, dimension 1 upwards"
            sides = _numbers(second.flip(0), 2), _numbers(first, 2)
            drawn.append(Picture("manifold", title, decoded(z, images[:1]), SIDE, *sides))
        learned = vae.prior.images()
        if learned is not None:
            drawn.append(Picture("pseudo_inputs", "pseudo-inputs of the prior", learned.detach().float().cpu(), 16))
    return drawn


def _moved(vae: VAE, mean: Tensor, dimensions: Sequence[int], quantiles: Tensor) -> Tensor:
    """Return the latents of traversals, ``(dimensions, N, V, size)``.

    Arguments:
        vae: the model.
        mean: the posterior means of N images, ``(N, size)``.
        dimensions: the latent variables that are moved, one at a time.
        quantiles: quantiles of the prior, ``(V, size)``.
    """

    def moved(each: Tensor, dimension: int) -> Tensor:
        return vae.posterior.moved(each, dimension, quantiles[:, dimension % quantiles.shape[1]])

    return torch.stack([torch.stack([moved(each, dimension) for each in mean]) for dimension in dimensions])


def _heads(vae: VAE, quantiles: Tensor, columns: int) -> tuple[str, list[str]]:
    """Return what the columns of traversals are, and their labels.

    Arguments:
        vae: the model.
        quantiles: quantiles of the prior, ``(V, size)``.
        columns: the number of columns.
    """
    if vae.posterior.values:
        return "each of its categories" if vae.posterior.values > 2 else "0 and 1", [*map(str, range(columns))]
    if torch.allclose(quantiles, quantiles[:, :1], rtol=1e-4, atol=1e-5):
        return "the value above", _numbers(quantiles[:, 0], 2)
    return "a quantile of the prior", _numbers(LEVELS, 3)


def _numbers(values: Tensor, decimals: int) -> list[str]:
    """Return values ``(N,)`` as labels, with a maximum number of decimals; without a sign if they round to 0."""
    rounded = values.double().round(decimals=decimals) + 0.0
    return [f"{value:.{decimals}f}".rstrip("0").rstrip(".") for value in rounded.tolist()]
