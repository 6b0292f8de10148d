"""The Gaussian posterior with independent dimensions."""

import math
from typing import NamedTuple, Self

import torch
from torch import Tensor

from vae_lightning.posteriors.distribution import Distribution
from vae_lightning.posteriors.posterior import Posterior

__all__ = ["Gaussian", "GaussianDistribution", "RealPosterior", "StandardNormal", "gaussian_kl"]

LOG_2_PI = math.log(2 * math.pi)


class _Parameters(NamedTuple):
    mu: Tensor
    logvar: Tensor


class GaussianDistribution(_Parameters, Distribution):
    """N(mu, diag(exp(logvar))).

    Attributes:
        mu: means, ``(..., B, latent_dim)``.
        logvar: logarithms of the variances, of the same shape.
    """

    __slots__ = ()

    @property
    def mean(self) -> Tensor:
        return self.mu

    def rsample(self, noise: Tensor) -> Tensor:
        """Return mu + exp(logvar / 2) * noise: the reparameterization trick."""
        return self.mu + torch.exp(0.5 * self.logvar) * noise

    def log_prob(self, z: Tensor) -> Tensor:
        return -0.5 * ((z - self.mu).square() * torch.exp(-self.logvar) + self.logvar + LOG_2_PI)

    def rsample_and_log_prob(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        return self.rsample(noise), -0.5 * (noise.square() + self.logvar + LOG_2_PI)

    def kl(self, other: Distribution) -> Tensor | None:
        if isinstance(other, StandardNormal):
            return gaussian_kl(self.mu, self.logvar)
        if not isinstance(other, GaussianDistribution):
            return None
        scale = torch.exp(-0.5 * other.logvar)
        return gaussian_kl((self.mu - other.mu) * scale, self.logvar - other.logvar)

    def log_prob_of_each(self, z: Tensor) -> Tensor:
        # One dimension at a time, because M * B * latent_dim differences would not fit in a processor's cache; products
        # of matrices would lose the differences from narrow posteriors to rounding.
        inverse = torch.exp(-0.5 * self.logvar)
        # (latent_dim, B), so that each dimension is a row in memory.
        scaled, scale = (self.mu * inverse).T.contiguous(), inverse.T.contiguous()
        squares = z.new_zeros(len(z), len(self.mu))
        for dimension, shift, factor in zip(z.T, scaled, scale, strict=True):
            offset = torch.addcmul(-shift, dimension[:, None], factor)
            squares.addcmul_(offset, offset)
        return -0.5 * (squares + (self.logvar + LOG_2_PI).sum(-1))

    def named(self) -> dict[str, Tensor]:
        return self._asdict()


class StandardNormal(GaussianDistribution):
    """N(0, I): mu and logvar are zeros."""

    __slots__ = ()

    @classmethod
    def of(cls, like: Tensor, latent_dim: int) -> Self:
        """Return N(0, I) in ``latent_dim`` dimensions, with tensors like another."""
        zeros = like.new_zeros(1, latent_dim)
        return cls(zeros, zeros)

    def rsample(self, noise: Tensor) -> Tensor:
        return noise

    def log_prob(self, z: Tensor) -> Tensor:
        return -0.5 * (z.square() + LOG_2_PI)

    def quantiles(self, levels: Tensor, noise: Tensor) -> Tensor:
        quantiles: Tensor = torch.special.ndtri(levels).to(self.mu)
        return quantiles[:, None].expand(-1, self.mu.shape[-1])


class RealPosterior(Posterior):
    """The base class of families of real latents, whose standard distribution is N(0, I)."""

    support = "real numbers"

    def standard(self, like: Tensor) -> StandardNormal:
        return StandardNormal.of(like, self.latent_dim)


class Gaussian(RealPosterior):
    """N(mu, diag(exp(logvar))), with mu and logvar side by side in the encoder's output.

    References:
        Auto-Encoding Variational Bayes, Kingma and Welling, 2014, section 2.4 (https://arxiv.org/abs/1312.6114).
    """

    factorised = True
    any_batch = True

    def forward(self, encoded: Tensor) -> GaussianDistribution:
        return GaussianDistribution(*encoded.chunk(2, dim=-1))


def gaussian_kl(mu: Tensor, logvar: Tensor) -> Tensor:
    r"""Return the KL of N(mu, exp(logvar)) from N(0, I), in nats by latent dimension.

    .. math:: -\tfrac{1}{2} (1 + \log \sigma^2 - \mu^2 - \sigma^2)

    ``expm1`` preserves precision where posterior and prior are nearly the same.

    Arguments:
        mu: posterior means, ``(..., latent_dim)``.
        logvar: logarithms of the posterior variances, of the same shape.

    Returns:
        Nats by latent dimension, of the same shape; an image's KL is their sum.

    References:
        Auto-Encoding Variational Bayes, Kingma and Welling, 2014, appendix B (https://arxiv.org/abs/1312.6114).
    """
    return 0.5 * (mu.square() + torch.expm1(logvar) - logvar)
