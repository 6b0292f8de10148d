"""The Gaussian posterior."""

from typing import NamedTuple, Self

import torch
from torch import Tensor

from vae_lightning.posteriors.posterior import Posterior

__all__ = ["Gaussian"]


class _Parameters(NamedTuple):
    mu: Tensor
    logvar: Tensor


class Gaussian(_Parameters, Posterior):
    """N(mu, diag(exp(logvar))).

    Attributes:
        mu: means, ``(..., latent_dim)``.
        logvar: logarithms of the variances, of the same shape.

    References:
        Auto-Encoding Variational Bayes, Kingma and Welling, 2014, section 2.4 (https://arxiv.org/abs/1312.6114).
    """

    __slots__ = ()

    @classmethod
    def of(cls, encoded: Tensor) -> Self:
        return cls(*encoded.chunk(2, dim=-1))

    @property
    def mean(self) -> Tensor:
        return self.mu

    def rsample(self, noise: Tensor) -> Tensor:
        """Return mu + exp(logvar / 2) * noise: the reparameterization trick.

        Arguments:
            noise: ``(..., latent_dim)`` from N(0, I).
        """
        return self.mu + torch.exp(0.5 * self.logvar) * noise

    def log_kernel(self, z: Tensor) -> Tensor:
        """Return log q(z|x) + latent_dim * log(2 pi) / 2, ``(...)``.

        Arguments:
            z: latents ``(..., latent_dim)``.
        """
        return -0.5 * ((z - self.mu).square() * torch.exp(-self.logvar) + self.logvar).sum(-1)
