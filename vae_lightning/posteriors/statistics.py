"""Statistics of the posteriors over a set of images: KL by dimension and active units."""

import torch
from torch import Tensor

from vae_lightning.distributed import over_processes
from vae_lightning.posteriors.kl import gaussian_kl
from vae_lightning.precision import sum_in_double

__all__ = ["PosteriorMoments", "active_units", "kl_per_dimension"]

# A unit is active if the variance of its posterior mean over images is above this (Burda et al., 2016).
ACTIVE = 0.01


def kl_per_dimension(mu: Tensor, logvar: Tensor) -> Tensor:
    """Return the KL of each latent dimension, averaged over images; its sum is the KL of the ELBO.

    Arguments:
        mu: posterior means, ``(N, latent_dim)``.
        logvar: logarithms of the posterior variances, of the same shape.

    Returns:
        Nats, ``(latent_dim,)``, in double precision.
    """
    return gaussian_kl(mu.double(), logvar.double()).mean(0)


def active_units(mu: Tensor, threshold: float = ACTIVE) -> Tensor:
    """Return which latent dimensions are in use: those whose posterior mean varies over the images.

    Arguments:
        mu: posterior means, ``(N, latent_dim)``, for two images or more.
        threshold: the variance over images above which a unit is active.

    Returns:
        Booleans, ``(latent_dim,)``; their sum is the number of active units.

    References:
        Importance Weighted Autoencoders, Burda, Grosse and Salakhutdinov, 2016, section 5.2
        (https://arxiv.org/abs/1509.00519): Cov_x(E_q(z|x)[z]) > 0.01.
    """
    return mu.double().var(0) > threshold


class PosteriorMoments:
    """An accumulator of the KL by dimension and the active units over batches of images, for one model or K at once."""

    def __init__(self) -> None:
        self._sums, self._count = torch.zeros(()), 0

    def add(self, mu: Tensor, kl: Tensor) -> None:
        """Add a batch.

        Arguments:
            mu: posterior means, ``(..., B, latent_dim)``.
            kl: KL from the prior in each dimension, of the same shape.
        """
        # In lower precision, the square of a large mean would hide the variance.
        mu = mu.to(sum_in_double(mu[..., :0]).dtype)
        self._sums = self._sums.to(mu.device) + sum_in_double(torch.stack([kl.to(mu), mu, mu.square()]).mT)
        self._count += mu.shape[-2]

    def result(self) -> tuple[Tensor, Tensor]:
        """Return :func:`kl_per_dimension` and :func:`active_units` over all processes, each ``(..., latent_dim)``."""
        sums, count = over_processes(self._sums, self._count)
        kl, mean, square = sums.cpu() / count
        return kl, (square - mean.square()) * count / max(1, count - 1) > ACTIVE
