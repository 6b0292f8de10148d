"""Layers that halve or double height and width."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod

from torch import Tensor, nn

__all__ = ["doubling_layers", "halving_layers"]


class _Residual(nn.Module):
    """A residual block x + f(x) for feature maps ``(B, channels, H, W)``; f is two convolutions, a ReLU before each.

    There is no normalisation: networks this shallow train without it, and batch normalisation would make images depend
    on each other.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.layers(x)
        return y


def halving_layers(image_shape: Sequence[int], outputs: int, channels: Sequence[int], blocks: int) -> list[nn.Module]:
    """Return the layers of an encoder: convolutions that halve height and width, each followed by residual blocks."""
    layers: list[nn.Module] = []
    for before, after in pairwise([image_shape[0], *channels]):
        layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), *_activation(after, blocks)]
    smallest = _sizes(image_shape, len(channels))[-1]
    return [*layers, nn.Flatten(), nn.Linear(channels[-1] * prod(smallest), outputs)]


def doubling_layers(
    image_shape: Sequence[int], latent_dim: int, channels: Sequence[int], blocks: int
) -> list[nn.Module]:
    """Return the layers of a decoder, mirroring :func:`halving_layers`."""
    *sizes, smallest = _sizes(image_shape, len(channels))
    layers = [
        nn.Linear(latent_dim, channels[0] * prod(smallest)),
        nn.Unflatten(1, (channels[0], *smallest)),
    ]
    for (inputs, outputs), size in zip(pairwise([*channels, image_shape[0]]), reversed(sizes), strict=True):
        # n becomes 2 n - 1, or 2 n with a padded row, to restore the size from which the encoder made n.
        padded = (1 - size[0] % 2, 1 - size[1] % 2)
        doubling = nn.ConvTranspose2d(inputs, outputs, 3, stride=2, padding=1, output_padding=padded)
        layers += [*_activation(inputs, blocks), doubling]
    return layers


def _activation(channels: int, blocks: int) -> list[nn.Module]:
    return [*(_Residual(channels) for _ in range(blocks)), nn.ReLU()]


def _sizes(image_shape: Sequence[int], halvings: int) -> list[tuple[int, int]]:
    """Return the height and width of the image and after each halving."""
    _, height, width = image_shape
    sizes = [(height, width)]
    for _ in range(halvings):
        height, width = (height + 1) // 2, (width + 1) // 2
        sizes.append((height, width))
    return sizes
