"""Bias and variance of a gradient estimator."""

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["GradientError", "gradient_error"]


class GradientError(NamedTuple):
    """The error of a gradient estimator, relative to the norm of a reference.

    Attributes:
        bias: norm of the mean estimate's deviation from the reference, after subtracting the expected contribution of
            noise from its square; 0 if nothing remains.
        noise: ``bias`` of an unbiased estimator without this subtraction: a smaller bias cannot be detected.
        variance: variance of a single estimate, summed over its elements, relative to the squared norm.
        norm: norm of the reference, in nats per image.
    """

    bias: float
    noise: float
    variance: float
    norm: float


def gradient_error(estimates: Iterable[Tensor], references: Iterable[Tensor]) -> GradientError:
    """Compare estimates of a gradient with reference estimates that are known to be unbiased.

    Arguments:
        estimates: two or more vectors ``(P,)``, drawn independently.
        references: likewise.
    """
    (mean, error, variance), (reference, reference_error, _) = _moments(estimates), _moments(references)
    norm = reference.norm()
    noise = error + reference_error
    bias = ((mean - reference).square().sum() - noise).clamp(min=0)
    return GradientError(
        *(float(value) for value in (bias.sqrt() / norm, noise.sqrt() / norm, variance / norm**2, norm))
    )


def _moments(vectors: Iterable[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Return the mean and, summed over elements, its squared standard error and the variance (Welford's recursion)."""
    count, mean, squares = 0, torch.zeros(()), torch.zeros(())
    for vector in vectors:
        count += 1
        change = vector.double() - mean
        mean = mean + change / count
        squares = squares + (change * (vector.double() - mean)).sum()
    variance = squares / (count - 1)
    return mean, variance / count, variance
