"""Statistics of the posteriors over a set of images: KL and active units."""

import torch
from torch import Tensor

from vae_lightning.distributed import over_processes
from vae_lightning.posteriors.distribution import Distribution, log_ratio
from vae_lightning.precision import sum_in_double

__all__ = ["ACTIVE", "PosteriorMoments", "active_units", "mean_kl", "mean_variances"]

# A unit is active if the variance of its posterior mean over images is above this (Burda et al., 2016).
ACTIVE = 0.01


def mean_kl(posterior: Distribution, prior: Distribution, noise: Tensor) -> Tensor:
    """Return the KL, averaged over images; its sum is the KL of the ELBO.

    Arguments:
        posterior: the posteriors of N images.
        prior: the prior.
        noise: ``(N, noise_size)`` from N(0, I), for a KL that is not known in closed form.

    Returns:
        Nats in double precision: ``(latent_dim,)``, by latent variable if they are independent in both, else ``(1,)``.
    """
    posterior, prior = posterior.map(torch.Tensor.double), prior.map(torch.Tensor.double)
    kl = posterior.kl(prior)
    if kl is None:
        z, log_posterior = posterior.rsample_and_log_prob(noise.double())
        kl = log_ratio(log_posterior, prior.log_prob(z))
    mean: Tensor = kl.mean(0)
    return mean


def mean_variances(mean: Tensor, latent_dim: int) -> Tensor:
    """Return the variance of each latent variable's posterior mean over images, ``(latent_dim,)``.

    Arguments:
        mean: posterior means, ``(N, size)``, for two images or more.
        latent_dim: number of latent variables; the variance of one of several numbers is their sum.
    """
    variances: Tensor = mean.double().var(0).unflatten(-1, (latent_dim, -1)).sum(-1)
    return variances


def active_units(mean: Tensor, latent_dim: int, threshold: float = ACTIVE) -> Tensor:
    """Return which latent variables are in use: those whose posterior mean varies over the images.

    Arguments:
        mean: posterior means, ``(N, size)``, for two images or more.
        latent_dim: number of latent variables.
        threshold: the variance over images above which a unit is active.

    Returns:
        Booleans, ``(latent_dim,)``; their sum is the number of active units.

    References:
        Importance Weighted Autoencoders, Burda, Grosse and Salakhutdinov, 2016, section 5.2
        (https://arxiv.org/abs/1509.00519): Cov_x(E_q(z|x)[z]) > 0.01.
    """
    return mean_variances(mean, latent_dim) > threshold


class PosteriorMoments:
    """An accumulator of the KL and the active units over batches of images, for one model or K at once.

    Arguments:
        latent_dim: number of latent variables.
    """

    def __init__(self, latent_dim: int) -> None:
        self.latent_dim = latent_dim
        self._sums, self._count = torch.zeros(()), 0

    def add(self, mean: Tensor, kl: Tensor) -> None:
        """Add a batch.

        Arguments:
            mean: posterior means, ``(..., B, size)``.
            kl: KL from the prior, ``(..., B, latent_dim)`` or ``(..., B, 1)``.
        """
        # In lower precision, the square of a large mean would hide the variance.
        mean = mean.to(sum_in_double(mean[..., :0]).dtype)
        # One tensor, because processes add up their sums at the end.
        sums = sum_in_double(torch.cat([kl.to(mean), mean, mean.square()], -1).mT)
        self._sums = self._sums.to(mean.device) + sums
        self._sizes = (kl.shape[-1], mean.shape[-1], mean.shape[-1])
        self._count += mean.shape[-2]

    def result(self) -> tuple[Tensor, Tensor]:
        """Return the mean KL, ``(..., latent_dim or 1)``, and the active units, ``(..., latent_dim)``.

        Both are over all processes; see :func:`active_units`.
        """
        sums, count = over_processes(self._sums, self._count)
        kl, mean, square = (sums.cpu() / count).split(self._sizes, -1)
        variance = (square - mean.square()) * count / max(1, count - 1)
        return kl, variance.unflatten(-1, (self.latent_dim, -1)).sum(-1) > ACTIVE
