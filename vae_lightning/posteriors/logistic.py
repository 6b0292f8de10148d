"""The logistic posterior."""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from vae_lightning.posteriors.distribution import Distribution
from vae_lightning.posteriors.gaussian import LOG_2_PI, StandardNormal
from vae_lightning.posteriors.log_ndtr import log_ndtr
from vae_lightning.posteriors.posterior import Posterior

__all__ = ["Logistic", "LogisticDistribution", "logistic_noise"]


def logistic_noise(noise: Tensor) -> Tensor:
    """Transform N(0, 1) to the standard logistic distribution: the log-odds of Phi(noise), precise in both tails."""
    return log_ndtr(noise) - log_ndtr(-noise)


class _Parameters(NamedTuple):
    loc: Tensor
    log_scale: Tensor


class LogisticDistribution(_Parameters, Distribution):
    r"""Independent logistic variables.

    .. math:: q(z) = \frac{e^{-y}}{s \, (1 + e^{-y})^2}, \qquad y = \frac{z - m}{s}

    Attributes:
        loc: m, ``(..., B, latent_dim)``.
        log_scale: log s, of the same shape.
    """

    __slots__ = ()

    @property
    def noise_size(self) -> int:
        return self.loc.shape[-1]

    @property
    def mean(self) -> Tensor:
        return self.loc

    def rsample(self, noise: Tensor) -> Tensor:
        return self.loc + self.log_scale.exp() * logistic_noise(noise)

    def log_prob(self, z: Tensor) -> Tensor:
        y = (z - self.loc) * torch.exp(-self.log_scale)
        return F.logsigmoid(y) + F.logsigmoid(-y) - self.log_scale

    def kl(self, other: Distribution) -> Tensor | None:
        if not isinstance(other, StandardNormal):
            return None
        # The cross-entropy to N(0, 1), with variance (pi s)^2 / 3, minus the entropy.
        second_moment = self.loc.square() + math.pi**2 / 3 * torch.exp(2 * self.log_scale)
        return 0.5 * (second_moment + LOG_2_PI) - (2 + self.log_scale)


class Logistic(Posterior):
    """Independent logistic variables: like Gaussians, with heavier tails.

    The encoder's output holds the locations and the logarithms of the scales, side by side.

    References:
        Auto-Encoding Variational Bayes, Kingma and Welling, 2014, section 2.4 (https://arxiv.org/abs/1312.6114): the
        inverse of the distribution function.
    """

    support = "real numbers"
    factorised = True
    any_batch = True

    def forward(self, encoded: Tensor) -> LogisticDistribution:
        return LogisticDistribution(*encoded.chunk(2, dim=-1))

    def standard(self, like: Tensor) -> StandardNormal:
        return StandardNormal.of(like, self.latent_dim)
