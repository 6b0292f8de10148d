"""Estimates of the encoder's gradient, and the bias and variance of their estimator."""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from vae_lightning.models.draw import draw
from vae_lightning.models.vae import VAE
from vae_lightning.streams import NormalStream

__all__ = ["GradientError", "encoder_gradients", "gradient_error"]


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


def encoder_gradients(vae: VAE, images: Tensor, count: int, source: torch.Generator, step: int) -> Iterator[Tensor]:
    """Yield estimates of the gradient of the model's objective in the encoder's weights, vectors ``(P,)``.

    Arguments:
        vae: the model, whose own estimator draws them.
        images: ``(B, C, H, W)``, as :meth:`vae_lightning.VAE.examples` returns them.
        count: number of estimates.
        source: generator at the beginning of the stream of their noise.
        step: number of optimiser steps so far, for the objective.
    """
    weights = list(vae.encoder.parameters())
    images = images.to(weights[0])
    noise = NormalStream(source, vae.posterior.noise_size, vae.device, weights[0].dtype)
    rows = vae.objective.samples * vae.estimator.rows
    for _ in range(count):
        rows_of_all = noise.draw(rows * len(images)).view(rows, len(images), -1)
        draws = draw(vae, images, rows_of_all, estimator=vae.estimator)
        loss = vae.estimator.loss(partial(vae.objective, step=step), draws).mean()
        yield torch.cat([gradient.flatten() for gradient in torch.autograd.grad(loss, weights)])


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
