"""The Laplace posterior."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from vae_lightning.posteriors.distribution import Distribution
from vae_lightning.posteriors.gaussian import LOG_2_PI, StandardNormal
from vae_lightning.posteriors.log_ndtr import log_ndtr
from vae_lightning.posteriors.posterior import Posterior

__all__ = ["Laplace", "LaplaceDistribution"]


class _Parameters(NamedTuple):
    loc: Tensor
    log_scale: Tensor


class LaplaceDistribution(_Parameters, Distribution):
    r"""Independent Laplace variables.

    .. math:: q(z) = \frac{1}{2 b} \exp\left(-\frac{|z - m|}{b}\right)

    Attributes:
        loc: m, ``(..., B, latent_dim)``.
        log_scale: log b, of the same shape.
    """

    __slots__ = ()

    @property
    def noise_size(self) -> int:
        return self.loc.shape[-1]

    @property
    def mean(self) -> Tensor:
        return self.loc

    def rsample(self, noise: Tensor) -> Tensor:
        # The quantile at u = Phi(noise): b log 2u below the median. The logarithm of Phi keeps the tails.
        magnitude = -log_ndtr(-noise.abs()) - math.log(2)
        z: Tensor = self.loc + self.log_scale.exp() * magnitude * noise.sign()
        return z

    def log_prob(self, z: Tensor) -> Tensor:
        return -(z - self.loc).abs() * torch.exp(-self.log_scale) - self.log_scale - math.log(2)

    def kl(self, other: Distribution) -> Tensor | None:
        if not isinstance(other, StandardNormal):
            return None
        # The cross-entropy to N(0, 1), with variance 2 b^2, minus the entropy.
        second_moment = self.loc.square() + 2 * torch.exp(2 * self.log_scale)
        return 0.5 * (second_moment + LOG_2_PI) - (1 + math.log(2) + self.log_scale)


class Laplace(Posterior):
    """Independent Laplace variables: heavier tails than the Gaussian's, and a peak at the median.

    The encoder's output holds the locations and the logarithms of the scales, side by side.

    References:
        Implicit Reparameterization Gradients, Figurnov, Mohamed and Mnih, 2018 (https://arxiv.org/abs/1805.08498),
        section 2: the quantile function of a location-scale family.
    """

    support = "real numbers"
    factorised = True
    any_batch = True

    def forward(self, encoded: Tensor) -> LaplaceDistribution:
        return LaplaceDistribution(*encoded.chunk(2, dim=-1))

    def standard(self, like: Tensor) -> StandardNormal:
        return StandardNormal.of(like, self.latent_dim)
