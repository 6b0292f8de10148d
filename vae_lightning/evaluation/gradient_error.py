"""Estimates of the encoder's gradient, the bias and variance of their estimator, and what it costs."""

import time
from collections.abc import Iterable, Iterator
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vae_lightning.estimators.enumeration import Enumeration
from vae_lightning.estimators.measure_valued import MeasureValued
from vae_lightning.models.draw import draw
from vae_lightning.models.stackable import by_matrix_products
from vae_lightning.models.vae import VAE
from vae_lightning.streams import NormalStream

__all__ = ["GradientError", "Moments", "encoder_gradients", "gradient_error", "gradient_seconds", "losses", "moments"]

# Estimates that are computed at once, where the model allows it, and rows of latents that are enumerated at once.
AT_ONCE, ROWS = 16, 2**14
# Repetitions of a gradient whose time is taken.
REPETITIONS = 5


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


class Moments(NamedTuple):
    """The moments of vectors ``(P,)``.

    Attributes:
        mean: their mean, ``(P,)``.
        error: squared standard error of the mean, summed over elements.
        variance: variance of a vector, summed over elements; 0 for a single one, which is taken for exact.
    """

    mean: Tensor
    error: Tensor
    variance: Tensor


def moments(vectors: Iterable[Tensor]) -> Moments:
    """Return the moments of one or more vectors ``(P,)``, in double precision (Welford's recursion)."""
    count, mean, squares = 0, torch.zeros(()), torch.zeros(())
    for vector in vectors:
        count += 1
        change = vector.double() - mean
        mean = mean + change / count
        squares = squares + (change * (vector.double() - mean)).sum()
    variance = squares / max(1, count - 1)
    return Moments(mean, variance / count, variance)


def gradient_error(estimates: Iterable[Tensor], references: Iterable[Tensor] | Moments) -> GradientError:
    """Compare estimates of a gradient with reference estimates that are known to be unbiased.

    Arguments:
        estimates: vectors ``(P,)``, drawn independently; a single one has no variance.
        references: likewise, or their moments.
    """
    mean, error, variance = moments(estimates)
    reference, reference_error, _ = references if isinstance(references, Moments) else moments(references)
    norm = reference.norm()
    noise = error + reference_error
    bias = ((mean - reference).square().sum() - noise).clamp(min=0)
    return GradientError(
        *(float(value) for value in (bias.sqrt() / norm, noise.sqrt() / norm, variance / norm**2, norm))
    )


def encoder_gradients(
    vae: VAE, images: Tensor, count: int, source: torch.Generator, step: int, at_once: int = 1
) -> Iterator[Tensor]:
    """Yield estimates of the gradient of the model's objective in the encoder's weights, vectors ``(P,)``.

    Arguments:
        vae: the model, whose own estimator draws them; that of an exact one is yielded once.
        images: ``(B, C, H, W)``, as :meth:`vae_lightning.VAE.examples` returns them.
        count: number of estimates.
        source: generator at the beginning of the stream of their noise.
        step: number of optimiser steps so far, for the objective.
        at_once: number of estimates that are computed together where the model is one of linear layers, which is
            faster; they differ from single ones by rounding.
    """
    weights = list(vae.encoder.parameters())
    images = images.to(weights[0])
    if isinstance(vae.estimator, Enumeration):
        yield _exact_gradient(vae, images, weights, step)
        return
    noise = NormalStream(source, vae.posterior.noise_size, vae.device, weights[0].dtype)
    rows = vae.noise_rows
    # The passes of a measure-valued estimate are many already.
    many = at_once if by_matrix_products(vae) and not isinstance(vae.estimator, MeasureValued) else 1
    for first in range(0, count, many):
        number = min(many, count - first)
        drawn = noise.draw(number * rows * len(images)).view(number, rows, len(images), -1)
        if many == 1:
            yield _gradient(losses(vae, images, drawn[0], step).mean(), weights)
        else:
            yield from _gradients(vae, images, drawn.movedim(0, 1), weights, step)


def losses(vae: VAE, images: Tensor, noise: Tensor, step: int) -> Tensor:
    """Return the objective of each image, ``(..., B)``, with the gradient that the model's estimator gives it.

    Arguments:
        vae: the model.
        images: ``(B, C, H, W)``.
        noise: ``(R, ..., B, noise_size)`` from N(0, I), with as many rows as a step takes.
        step: number of optimiser steps so far.
    """
    return vae.estimator.loss(partial(vae.objective, step=step), draw(vae, images, noise, estimator=vae.estimator))


def gradient_seconds(vae: VAE, images: Tensor, source: torch.Generator, step: int) -> float:
    """Return the seconds that an estimate of the gradient in all of the model's weights takes, as a step does.

    It is the least of a few, because other processes make some take longer. Arguments are as for
    :func:`encoder_gradients`.
    """
    weights = [weight for weight in vae.parameters() if weight.requires_grad]
    images = images.to(weights[0])
    rows = vae.noise_rows
    noise = NormalStream(source, vae.posterior.noise_size, vae.device, weights[0].dtype)
    seconds = []
    for _ in range(REPETITIONS):
        drawn = noise.draw(rows * len(images)).view(rows, len(images), -1)
        began = time.perf_counter()
        torch.autograd.grad(losses(vae, images, drawn, step).mean(), weights, allow_unused=True)
        if vae.device.type != "cpu":
            torch.accelerator.synchronize()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def _gradient(loss: Tensor, weights: list[nn.Parameter]) -> Tensor:
    return torch.cat([gradient.flatten() for gradient in torch.autograd.grad(loss, weights)])


def _gradients(vae: VAE, images: Tensor, noise: Tensor, weights: list[nn.Parameter], step: int) -> Iterator[Tensor]:
    """Yield one estimate for each entry of the second dimension of the noise, ``(R, G, B, noise_size)``.

    All of them see the encoder's output of one pass, as if they were the models of a stack.
    """
    outputs: list[Tensor] = []

    def repeated(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
        outputs[:] = output, output.detach().expand(noise.shape[1], *output.shape).requires_grad_()
        return outputs[1]

    hook = vae.encoder.register_forward_hook(repeated)
    try:
        means = losses(vae, images, noise, step).mean(-1)
    finally:
        hook.remove()
    output, copies = outputs
    (slopes,) = torch.autograd.grad(means.sum(), copies)
    each = torch.autograd.grad(output, weights, slopes, is_grads_batched=True)
    yield from torch.cat([gradient.flatten(1) for gradient in each], 1)


def _exact_gradient(vae: VAE, images: Tensor, weights: list[nn.Parameter], step: int) -> Tensor:
    """Return the gradient by enumeration, of a few images at a time, because all values of each take memory."""
    values = vae.posterior.values**vae.posterior.latent_dim
    total = images.new_zeros(())
    for part in images.split(max(1, ROWS // values)):
        noise = images.new_zeros(1, len(part), vae.posterior.noise_size)
        total = total + _gradient(losses(vae, part, noise, step).sum(), weights)
    return total / len(images)
