"""The importance-weighted estimate of log p(x)."""

import logging
import math
import time
from typing import NamedTuple

import torch
from torch import Tensor

from vae_lightning.checks import LIKELIHOOD, check
from vae_lightning.progress import progress_bar
from vae_lightning.streams import NormalStream, generator
from vae_lightning.vae import VAE, evaluating

__all__ = ["LogLikelihood", "log_likelihood"]

log = logging.getLogger(__name__)

# The first chunk warms the processor up; of those that follow, so many seconds tell how long all will take.
TIMED_SECONDS = 1.0


class LogLikelihood(NamedTuple):
    """What K samples tell of each image's log p(x); each ``(N,)``, in double precision on the CPU.

    The estimates are in nats. Their standard errors are by the delta method, over the samples, and not a number for a
    single sample. Effective samples, between 1 and K, are (sum w)^2 / sum w^2 of the weights w: where they are few, the
    estimate rests on a few samples, is too low by an unknown amount, and its standard error is too small. ``elbo`` is
    the mean log-weight, an estimate of the evidence lower bound by the same samples, never above ``estimate``.
    """

    estimate: Tensor
    standard_error: Tensor
    effective_samples: Tensor
    elbo: Tensor

    def mean(self) -> tuple[float, float]:
        """The mean over images and its standard error over images, in nats per image; that of one image is nan."""
        return float(self.estimate.mean()), float(self.estimate.std() / math.sqrt(len(self.estimate)))

    def bias(self) -> float:
        """What the mean over images is off by, in nats per image, to first order in 1/K: minus half the mean variance.

        It is below 0, for the estimate is a lower bound in expectation (Burda et al., 2016, theorem 1).
        """
        return float(-0.5 * self.standard_error.square().mean())


def log_likelihood(
    vae: VAE, images: Tensor, samples: int = 5000, seed: int = 0, chunk_size: int = 1000, progress: bool = False
) -> LogLikelihood:
    r"""Estimate each image's log p(x) with samples from its posterior, in eval mode and without gradients.

    .. math:: \log \frac{1}{K} \sum_{k=1}^{K} \frac{p(x|z_k) \, p(z_k)}{q(z_k|x)}, \qquad z_k \sim q(z|x)

    In expectation it is a lower bound of log p(x), the evidence lower bound for K = 1, and rises with K. p(x|z) is the
    model's :meth:`vae_lightning.VAE.nll`: of grey values under Bernoulli pixels that is a cross-entropy, and not the
    logarithm of a normalised likelihood.

    Image i has noise of its own, the same rows whatever the other images, the chunks, the device and K: the results
    depend on none of them but for rounding. Log-weights have the precision of the model's weights; they are added up in
    double precision.

    Arguments:
        vae: the model, on whatever device.
        images: ``(N, C, H, W)``, in [0, 1].
        samples: K, for each image.
        seed: of the noise.
        chunk_size: images times samples decoded at a time at most, which bounds the memory.
        progress: say beforehand how long it will take if that is more than a second, and show a bar on a terminal.

    Raises:
        InputError: if an argument is not what :mod:`vae_lightning.checks` allows.
        FloatingPointError: if the estimate of an image is not finite.

    References:
        Importance Weighted Autoencoders, Burda, Grosse and Salakhutdinov, 2016 (https://arxiv.org/abs/1509.00519).
    """
    check({"samples": samples, "seed": seed, "chunk_size": chunk_size}, LIKELIHOOD)
    weights = next(vae.parameters())
    together = max(1, chunk_size // max(samples, NormalStream.PAGE))  # for noise is made a page at a time
    parts = []
    with evaluating(vae), progress_bar(len(images) * samples, "log p(x)", shown=progress) as bar:
        watch = _Watch(len(images), samples, progress)
        for first in range(0, len(images), together):
            x = images[first : first + together].to(weights)
            mu, logvar = vae.encode(x)
            streams = [
                NormalStream(generator(seed, "likelihood", first + row), vae.latent_dim, weights.device, weights.dtype)
                for row in range(len(x))
            ]
            # Logarithms of the sum of the weights and of the sum of their squares, and the sum of their logarithms.
            total = torch.full((len(x),), -math.inf, dtype=torch.float64)
            squares, logs = total.clone(), torch.zeros_like(total)
            for start in range(0, samples, chunk_size):
                count = min(chunk_size, samples - start)
                noise = torch.stack([stream.draw(count) for stream in streams], 1)
                z = vae.reparameterize(mu, logvar, noise)
                # log p(z) - log q(z|x), whose constants cancel.
                ratio = 0.5 * (noise.square() - z.square() + logvar).sum(-1)
                log_weights = (ratio - vae.nll(z, x)).cpu().double()
                total = torch.logaddexp(total, log_weights.logsumexp(0))
                squares = torch.logaddexp(squares, (2 * log_weights).logsumexp(0))
                logs += log_weights.sum(0)
                bar.update(count * len(x))
                watch.saw(count * len(x))
            parts.append(torch.stack([total, squares, logs]))
    total, squares, logs = torch.cat(parts, 1)
    estimate = total - math.log(samples)
    if not estimate.isfinite().all():
        place = int(estimate.isfinite().logical_not().nonzero()[0])
        raise FloatingPointError(f"the log-likelihood of image {place} is {estimate[place].item()}")
    effective = torch.exp(2 * total - squares)
    # Of the mean weight, relative to it; rounding can make equal weights more than K effective samples.
    variance = (
        (samples / effective - 1).clamp(min=0) / (samples - 1) if samples > 1 else torch.full_like(total, math.nan)
    )
    return LogLikelihood(estimate, variance.sqrt(), effective, logs / samples)


class _Watch:
    """Tells how long the estimate will take, once."""

    def __init__(self, images: int, samples: int, progress: bool) -> None:
        self.images, self.samples, self.pending = images, samples, progress
        self.seen, self.warm, self.began = 0, 0, 0.0

    def saw(self, count: int) -> None:
        self.seen += count
        if not self.warm:
            self.warm, self.began = self.seen, time.perf_counter()
        elif self.pending and (elapsed := time.perf_counter() - self.began) >= TIMED_SECONDS:
            self.pending = False
            seconds = elapsed * self.images * self.samples / (self.seen - self.warm)
            shown = f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
            log.info("log p(x): %s images, %s samples each: about %s", self.images, self.samples, shown)
