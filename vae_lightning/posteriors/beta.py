"""The Beta posterior."""

from typing import NamedTuple

import torch
from torch import Tensor, distributions

from vae_lightning.posteriors.gamma_quantile import concentrations, log_gamma_quantile
from vae_lightning.posteriors.posterior import Posterior
from vae_lightning.posteriors.torch_distribution import TorchDistribution

__all__ = ["Beta", "BetaDistribution"]


class _Parameters(NamedTuple):
    alpha: Tensor
    beta: Tensor


class BetaDistribution(_Parameters, TorchDistribution):
    r"""Independent Beta variables.

    .. math:: q(z) = \frac{\Gamma(a + b)}{\Gamma(a) \Gamma(b)} z^{a - 1} (1 - z)^{b - 1}

    Attributes:
        alpha: a, ``(..., B, latent_dim)``: the concentration at 1.
        beta: b, of the same shape: the concentration at 0.
    """

    __slots__ = ()

    @property
    def noise_size(self) -> int:
        return 2 * self.alpha.shape[-1]

    @property
    def mean(self) -> Tensor:
        return self.alpha / (self.alpha + self.beta)

    def rsample(self, noise: Tensor) -> Tensor:
        # g / (g + h) for g ~ Gamma(a) and h ~ Gamma(b).
        log_g, log_h = log_gamma_quantile(torch.cat([self.alpha, self.beta], dim=-1), noise).chunk(2, dim=-1)
        z = torch.sigmoid(log_g - log_h)
        # The sigmoid rounds to 1 from a logit of 17 on, where the density may be infinite.
        limits = torch.finfo(z.dtype)
        return z.clamp(limits.tiny, 1 - limits.eps / 2)

    @property
    def formulas(self) -> distributions.Beta:
        return distributions.Beta(self.alpha, self.beta, validate_args=False)


class Beta(Posterior):
    """Independent Beta variables, for latents between 0 and 1; the standard distribution is the uniform Beta(1, 1).

    The encoder's output holds the numbers of alpha and beta, side by side.

    References:
        Implicit Reparameterization Gradients, Figurnov, Mohamed and Mnih, 2018 (https://arxiv.org/abs/1805.08498).
    """

    support = "numbers between 0 and 1"
    factorised = True
    any_batch = True
    noise_parts = 2

    def forward(self, encoded: Tensor) -> BetaDistribution:
        return BetaDistribution(*concentrations(encoded).chunk(2, dim=-1))

    def standard(self, like: Tensor) -> BetaDistribution:
        ones = like.new_ones(1, self.latent_dim)
        return BetaDistribution(ones, ones)
