"""The Gamma posterior."""

from typing import NamedTuple

import torch
from torch import Tensor, distributions

from vae_lightning.posteriors.gamma_quantile import concentrations, log_gamma_quantile
from vae_lightning.posteriors.posterior import Posterior
from vae_lightning.posteriors.torch_distribution import TorchDistribution

__all__ = ["Gamma", "GammaDistribution"]


class _Parameters(NamedTuple):
    concentration: Tensor
    log_rate: Tensor


class GammaDistribution(_Parameters, TorchDistribution):
    r"""Independent Gamma variables.

    .. math:: q(z) = \frac{r^a}{\Gamma(a)} z^{a - 1} e^{-r z}

    Attributes:
        concentration: a, ``(..., B, latent_dim)``.
        log_rate: log r, of the same shape.
    """

    __slots__ = ()

    @property
    def mean(self) -> Tensor:
        return self.concentration * torch.exp(-self.log_rate)

    def rsample(self, noise: Tensor) -> Tensor:
        z = torch.exp(log_gamma_quantile(self.concentration, noise) - self.log_rate)
        return z.clamp(min=torch.finfo(z.dtype).tiny)

    @property
    def formulas(self) -> distributions.Gamma:
        return distributions.Gamma(self.concentration, self.log_rate.exp(), validate_args=False)


class Gamma(Posterior):
    """Independent Gamma variables, for positive and, with concentrations below 1, sparse latents.

    The encoder's output holds the numbers of the concentrations and the logarithms of the rates, side by side. The
    standard distribution is Gamma(1, 1), the exponential distribution: that of maximum entropy among those of positive
    numbers with mean 1, as N(0, 1) is among those of real numbers with variance 1 and the uniform distribution is among
    those of a bounded set (Cover and Thomas, Elements of Information Theory, 2006, section 12.1).

    References:
        Implicit Reparameterization Gradients, Figurnov, Mohamed and Mnih, 2018 (https://arxiv.org/abs/1805.08498).
    """

    support = "positive numbers"
    factorised = True
    any_batch = True

    def forward(self, encoded: Tensor) -> GammaDistribution:
        concentration, log_rate = encoded.chunk(2, dim=-1)
        return GammaDistribution(concentrations(concentration), log_rate)

    def standard(self, like: Tensor) -> GammaDistribution:
        return GammaDistribution(like.new_ones(1, self.latent_dim), like.new_zeros(1, self.latent_dim))
