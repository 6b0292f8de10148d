"""What distributions with a location and a scale share."""

from abc import abstractmethod
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from vae_lightning.posteriors.distribution import Distribution
from vae_lightning.posteriors.gaussian import LOG_2_PI, StandardNormal

__all__ = ["LocationScaleDistribution"]


class _Parameters(NamedTuple):
    loc: Tensor
    log_scale: Tensor


class LocationScaleDistribution(_Parameters, Distribution):
    """Independent variables m + s y, where the distribution of y is fixed and symmetric about 0.

    Attributes:
        loc: m, ``(..., B, latent_dim)``.
        log_scale: log s, of the same shape.
    """

    __slots__ = ()

    # Variance and entropy, in nats, of y.
    variance: ClassVar[float]
    entropy: ClassVar[float]

    @staticmethod
    @abstractmethod
    def quantile(noise: Tensor) -> Tensor:
        """Return the quantile of y at Phi(noise)."""

    @staticmethod
    @abstractmethod
    def log_density(y: Tensor) -> Tensor:
        """Return the logarithm of the density of y."""

    @property
    def mean(self) -> Tensor:
        return self.loc

    def rsample(self, noise: Tensor) -> Tensor:
        return self.loc + self.log_scale.exp() * self.quantile(noise)

    def log_prob(self, z: Tensor) -> Tensor:
        return self.log_density((z - self.loc) * torch.exp(-self.log_scale)) - self.log_scale

    def kl(self, other: Distribution) -> Tensor | None:
        if not isinstance(other, StandardNormal):
            return None
        # The cross-entropy to N(0, 1) minus the entropy.
        second_moment = self.loc.square() + self.variance * torch.exp(2 * self.log_scale)
        return 0.5 * (second_moment + LOG_2_PI) - (self.entropy + self.log_scale)
