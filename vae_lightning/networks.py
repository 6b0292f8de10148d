"""Encoders and decoders. Each takes any number of leading batch dimensions."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod

from torch import nn

__all__ = ["mlp_decoder", "mlp_encoder"]


def mlp_encoder(image_shape: Sequence[int], widths: Sequence[int], latent_dim: int) -> nn.Sequential:
    """Images ``(..., C, H, W)`` to ``(..., 2 * latent_dim)``: mu and logvar side by side, one matrix for both heads."""
    return nn.Sequential(
        nn.Flatten(start_dim=-len(image_shape)),
        *_mlp([prod(image_shape), *widths, 2 * latent_dim]),
    )


def mlp_decoder(latent_dim: int, widths: Sequence[int], image_shape: Sequence[int]) -> nn.Sequential:
    """Latents ``(..., latent_dim)`` to the logits of the pixels ``(..., C, H, W)``."""
    return nn.Sequential(
        *_mlp([latent_dim, *widths, prod(image_shape)]),
        nn.Unflatten(-1, tuple(image_shape)),
    )


def _mlp(sizes: Sequence[int]) -> list[nn.Module]:
    """Linear layers of these sizes with a ReLU between each two."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return layers[:-1]
