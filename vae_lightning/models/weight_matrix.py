"""The weights of a stack as one matrix, one row per model."""

from collections.abc import Sequence

from torch import Tensor

__all__ = ["WeightMatrix"]

# Single-precision numbers per cache line of a processor. A matrix product whose result begins mid-line takes 1.4 times
# as long.
_CACHE_LINE = 16


class WeightMatrix:
    """The layout of a matrix of weights, with which an optimiser steps through one tensor instead of one per layer.

    Arguments:
        weights: the weights, each ``(K, ...)`` for K models.
    """

    def __init__(self, weights: Sequence[Tensor]) -> None:
        self.weights = weights

    @property
    def widths(self) -> list[int]:
        """The number of columns of each weight, rounded up to whole cache lines."""
        return [weight[0].numel() + -weight[0].numel() % _CACHE_LINE for weight in self.weights]

    def zeros(self, count: int) -> Tensor:
        """Return a matrix of zeros for ``count`` models, ``(count, columns)``."""
        return self.weights[0].new_zeros(count, sum(self.widths))

    def columns(self, rows: Tensor) -> list[Tensor]:
        """Return views of a matrix ``(count, columns)`` in the shapes of the weights, ``(count, ...)``."""
        parts = zip(rows.split(self.widths, 1), self.weights, strict=True)
        return [part[:, : weight[0].numel()].view(len(part), *weight.shape[1:]) for part, weight in parts]
