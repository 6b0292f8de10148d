"""The Student's t posterior."""

from typing import NamedTuple

import torch
from torch import Tensor, distributions
from torch.nn import functional as F

from vae_lightning.posteriors.distribution import Distribution
from vae_lightning.posteriors.gamma_quantile import log_gamma_quantile
from vae_lightning.posteriors.gaussian import LOG_2_PI, RealPosterior, StandardNormal
from vae_lightning.posteriors.torch_distribution import TorchDistribution

__all__ = ["StudentT", "StudentTDistribution"]

# The variance, scale^2 df / (df - 2), is infinite at df = 2, and so are the KL from N(0, 1) and the variance of the
# gradient in the scale. At df = 3 the variance is 3 scale^2, and its slope in df is -2 scale^2.
LEAST_DF = 3.0


class _Parameters(NamedTuple):
    loc: Tensor
    log_scale: Tensor
    df: Tensor


class StudentTDistribution(_Parameters, TorchDistribution):
    r"""Independent variables with Student's t distribution.

    .. math:: q(z) \propto \frac{1}{s} \left(1 + \frac{1}{\nu} \left(\frac{z - m}{s}\right)^2\right)^{-(\nu + 1) / 2}

    Attributes:
        loc: m, ``(..., B, latent_dim)``.
        log_scale: log s, of the same shape.
        df: degrees of freedom nu > 2, of the same shape.
    """

    __slots__ = ()

    @property
    def noise_size(self) -> int:
        return 2 * self.loc.shape[-1]

    @property
    def mean(self) -> Tensor:
        return self.loc

    def rsample(self, noise: Tensor) -> Tensor:
        # Normal noise divided by the root of g / (nu / 2), with g ~ Gamma(nu / 2).
        normal, of_gamma = noise.chunk(2, dim=-1)
        half = self.df / 2
        log_root = 0.5 * (log_gamma_quantile(half, of_gamma) - half.log())
        return self.loc + torch.exp(self.log_scale - log_root) * normal

    def kl(self, other: Distribution) -> Tensor | None:
        if not isinstance(other, StandardNormal):
            return None
        # The cross-entropy to N(0, 1) minus the entropy.
        variance = torch.exp(2 * self.log_scale) * self.df / (self.df - 2)
        entropy: Tensor = self.formulas.entropy()
        return 0.5 * (self.loc.square() + variance + LOG_2_PI) - entropy

    @property
    def formulas(self) -> distributions.StudentT:
        return distributions.StudentT(self.df, self.loc, self.log_scale.exp(), validate_args=False)


class StudentT(RealPosterior):
    """Independent variables with Student's t distribution: tails that follow a power law, with a learned exponent.

    The encoder's output holds the locations, the logarithms of the scales and the numbers of the degrees of freedom,
    side by side; the degrees of freedom are above :data:`LEAST_DF`.

    References:
        Implicit Reparameterization Gradients, Figurnov, Mohamed and Mnih, 2018 (https://arxiv.org/abs/1805.08498).
    """

    factorised = True
    any_batch = True
    parts = 3
    noise_parts = 2

    def forward(self, encoded: Tensor) -> StudentTDistribution:
        loc, log_scale, df = encoded.chunk(3, dim=-1)
        return StudentTDistribution(loc, log_scale, LEAST_DF + F.softplus(df))
