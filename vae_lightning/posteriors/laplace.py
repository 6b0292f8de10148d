"""The Laplace posterior."""

import math

from torch import Tensor

from vae_lightning.posteriors.gaussian import RealPosterior
from vae_lightning.posteriors.location_scale import LocationScaleDistribution
from vae_lightning.posteriors.log_ndtr import log_ndtr

__all__ = ["Laplace", "LaplaceDistribution"]


class LaplaceDistribution(LocationScaleDistribution):
    r"""Independent Laplace variables.

    .. math:: q(z) = \frac{1}{2 b} \exp\left(-\frac{|z - m|}{b}\right)

    Attributes:
        loc: m, ``(..., B, latent_dim)``.
        log_scale: log b, of the same shape.
    """

    __slots__ = ()

    variance = 2.0
    entropy = 1 + math.log(2)

    @staticmethod
    def quantile(noise: Tensor) -> Tensor:
        # log 2u below the median, for u = Phi(noise). The logarithm of Phi keeps the tails.
        return (-log_ndtr(-noise.abs()) - math.log(2)) * noise.sign()

    @staticmethod
    def log_density(y: Tensor) -> Tensor:
        return -y.abs() - math.log(2)


class Laplace(RealPosterior):
    """Independent Laplace variables: heavier tails than the Gaussian's, and a peak at the median.

    The encoder's output holds the locations and the logarithms of the scales, side by side.

    References:
        Implicit Reparameterization Gradients, Figurnov, Mohamed and Mnih, 2018 (https://arxiv.org/abs/1805.08498),
        section 2: the quantile function of a location-scale family.
    """

    factorised = True
    any_batch = True

    def forward(self, encoded: Tensor) -> LaplaceDistribution:
        return LaplaceDistribution(*encoded.chunk(2, dim=-1))
