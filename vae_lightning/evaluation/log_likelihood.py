"""The importance-weighted estimate of log p(x)."""

import logging
import math
import time
from typing import NamedTuple

import torch
from torch import Tensor

from vae_lightning.config.arguments import checked
from vae_lightning.models.eval_mode import eval_mode
from vae_lightning.models.vae import VAE
from vae_lightning.posteriors.distribution import log_ratio
from vae_lightning.precision import in_single_precision
from vae_lightning.progress_bar import progress_bar
from vae_lightning.streams import NormalStream, generator

__all__ = ["LogLikelihood", "log_likelihood"]

log = logging.getLogger(__name__)
# The first chunk warms the processor up; the total time is extrapolated from this many seconds of the following chunks.
TIMED_SECONDS = 1.0


class LogLikelihood(NamedTuple):
    """Estimates of each image's log p(x) from K samples; each ``(N,)``, in double precision on the CPU.

    The estimates are in nats. Their standard errors, over the samples, come from the delta method, and are nan for a
    single sample. The number of effective samples, between 1 and K, is (sum w)^2 / sum w^2 for the weights w: where it
    is small, the estimate rests on a few samples, is too low by an unknown amount, and its standard error is too small.
    ``elbo`` is the mean log-weight, an estimate of the evidence lower bound from the same samples, never above
    ``estimate``.
    """

    estimate: Tensor
    standard_error: Tensor
    effective_samples: Tensor
    elbo: Tensor

    def mean(self) -> tuple[float, float]:
        """Return the mean and its standard error over images, in nats per image; the error is nan for one image."""
        return float(self.estimate.mean()), float(self.estimate.std() / math.sqrt(len(self.estimate)))

    def bias(self) -> float:
        """Return the bias of the mean over images, in nats per image, to first order in 1/K.

        It is minus half the mean variance: negative, because the estimate is a lower bound in expectation (Burda et
        al., 2016, theorem 1).
        """
        return float(-0.5 * self.standard_error.square().mean())


@checked
def log_likelihood(
    vae: VAE, images: Tensor, samples: int = 5000, seed: int = 0, chunk_size: int = 1000, progress: bool = False
) -> LogLikelihood:
    r"""Estimate each image's log p(x) with samples from its posterior, in eval mode and without gradients.

    .. math:: \log \frac{1}{K} \sum_{k=1}^{K} \frac{p(x|z_k) \, p(z_k)}{q(z_k|x)}, \qquad z_k \sim q(z|x)

    In expectation this is a lower bound on log p(x), the evidence lower bound for K = 1, and it rises with K. p(x|z) is
    the model's :meth:`vae_lightning.VAE.nll`: for grey values under Bernoulli pixels that is a cross-entropy, not the
    logarithm of a normalised likelihood.

    Image i has its own noise, the same rows whatever the other images, the chunks, the device and K. Apart from
    rounding, its estimate does not depend on the other images, the chunks or the device. Log-weights have the precision
    of the model's weights and are summed in double precision. Under ``torch.autocast``, matrix products have its
    precision: the posteriors are then slightly others, and each log-weight gets an error from the decoder.

    Arguments:
        vae: the model, on any device.
        images: ``(N, C, H, W)``, in [0, 1].
        samples: K, the number of samples per image.
        seed: seed of the noise.
        chunk_size: maximum number of images times samples decoded at a time, which bounds the memory.
        progress: log an estimate of the time needed if it exceeds a second, and show a progress bar on a terminal.

    Raises:
        InputError: if an argument breaks its rule (:mod:`vae_lightning.evaluation.rules`).
        FloatingPointError: if the estimate of an image is not finite.

    References:
        Importance Weighted Autoencoders, Burda, Grosse and Salakhutdinov, 2016 (https://arxiv.org/abs/1509.00519).
    """
    weights = next(vae.parameters())
    chunk_images = max(1, chunk_size // max(samples, NormalStream.PAGE))  # because noise is drawn a page at a time
    parts = []
    with eval_mode(vae), progress_bar(len(images) * samples, "log p(x)", shown=progress) as bar:
        prior = vae.prior_distribution().map(in_single_precision)
        total_time = _TotalTime(len(images), samples, progress)
        for first in range(0, len(images), chunk_images):
            x = images[first : first + chunk_images].to(weights)
            posterior = vae.encode(x).map(in_single_precision)
            streams = [
                NormalStream(
                    generator(seed, "likelihood", first + row), posterior.noise_size, weights.device, weights.dtype
                )
                for row in range(len(x))
            ]
            # Logarithms of the sum of the weights and of the sum of their squares, and the sum of their logarithms.
            total = torch.full((len(x),), -math.inf, dtype=torch.float64)
            squares, logs = total.clone(), torch.zeros_like(total)
            for start in range(0, samples, chunk_size):
                count = min(chunk_size, samples - start)
                noise = torch.stack([stream.draw(count) for stream in streams], 1)
                z, log_posterior = posterior.rsample_and_log_prob(noise)
                kl = log_ratio(log_posterior, prior.log_prob(z)).sum(-1)
                log_weights = -(kl + vae.nll(z, x)).cpu().double()
                total = torch.logaddexp(total, log_weights.logsumexp(0))
                squares = torch.logaddexp(squares, (2 * log_weights).logsumexp(0))
                logs += log_weights.sum(0)
                bar.update(count * len(x))
                total_time.update(count * len(x))
            parts.append(torch.stack([total, squares, logs]))
    total, squares, logs = torch.cat(parts, 1)
    estimate = total - math.log(samples)
    if not estimate.isfinite().all():
        place = int(estimate.isfinite().logical_not().nonzero()[0])
        raise FloatingPointError(f"the log-likelihood of image {place} is {estimate[place].item()}")
    effective = torch.exp(2 * total - squares)
    # The relative variance of the mean weight; rounding can give equal weights more than K effective samples.
    variance = (
        (samples / effective - 1).clamp(min=0) / (samples - 1) if samples > 1 else torch.full_like(total, math.nan)
    )
    return LogLikelihood(estimate, variance.sqrt(), effective, logs / samples)


class _TotalTime:
    """Logs once how long all images will take."""

    def __init__(self, images: int, samples: int, progress: bool) -> None:
        self.images, self.samples, self.pending = images, samples, progress
        self.seen, self.warm, self.began = 0, 0, 0.0

    def update(self, count: int) -> None:
        self.seen += count
        if not self.warm:
            self.warm, self.began = self.seen, time.perf_counter()
        elif self.pending and (elapsed := time.perf_counter() - self.began) >= TIMED_SECONDS:
            self.pending = False
            seconds = elapsed * self.images * self.samples / (self.seen - self.warm)
            shown = f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"
            log.info("log p(x): %s images, %s samples each: about %s", self.images, self.samples, shown)
