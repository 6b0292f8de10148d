"""Padding: the smaller models of a stack have zero weights in the latent dimensions that they lack."""

from collections.abc import Sequence
from types import EllipsisType

import torch
from torch import Tensor

__all__ = ["own_place"]


def own_place(
    latent_dim: int, shape: Sequence[int], padded_dim: int, padded: Sequence[int]
) -> EllipsisType | tuple[Tensor, ...]:
    """Return the index of a model's own weights among the padded ones.

    Arguments:
        latent_dim: ``latent_dim`` of the model.
        shape: shape of its weights.
        padded_dim: ``latent_dim`` of the stack.
        padded: shape of the padded weights. Along a dimension of ``2 * latent_dim`` (the encoder's output), the halves
            are mu and logvar.
    """
    if tuple(shape) == tuple(padded):
        return ...
    places = []
    for own, wide in zip(shape, padded, strict=True):
        place = torch.arange(own)
        if own != wide and own == 2 * latent_dim:
            place[latent_dim:] += padded_dim - latent_dim
        places.append(place)
    return torch.meshgrid(*places, indexing="ij")
