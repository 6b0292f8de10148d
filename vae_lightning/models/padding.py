"""Padding: the smaller models of a stack have zero weights in the latent dimensions that they lack."""

from collections.abc import Sequence
from types import EllipsisType

import torch
from torch import Tensor

__all__ = ["own_place"]


def own_place(
    size: int, shape: Sequence[int], padded_size: int, padded: Sequence[int]
) -> EllipsisType | tuple[Tensor, ...]:
    """Return the index of a model's own weights among the padded ones.

    Arguments:
        size: number of numbers that represent the model's latents.
        shape: shape of its weights.
        padded_size: this number in the stack.
        padded: shape of the padded weights. A dimension that is longer by several times the difference of the sizes
            (the encoder's output) has blocks with their own padding: mu and logvar of a Gaussian.
    """
    if tuple(shape) == tuple(padded):
        return ...
    places = []
    for own, wide in zip(shape, padded, strict=True):
        place = torch.arange(own)
        if own != wide:
            blocks = (wide - own) // (padded_size - size)
            place += place // (own // blocks) * (padded_size - size)
        places.append(place)
    return torch.meshgrid(*places, indexing="ij")
