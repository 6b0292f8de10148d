"""The logistic posterior."""

import math

from torch import Tensor
from torch.nn import functional as F

from vae_lightning.posteriors.gaussian import RealPosterior
from vae_lightning.posteriors.location_scale import LocationScaleDistribution
from vae_lightning.posteriors.log_ndtr import log_ndtr

__all__ = ["Logistic", "LogisticDistribution"]


class LogisticDistribution(LocationScaleDistribution):
    r"""Independent logistic variables.

    .. math:: q(z) = \frac{e^{-y}}{s \, (1 + e^{-y})^2}, \qquad y = \frac{z - m}{s}

    Attributes:
        loc: m, ``(..., B, latent_dim)``.
        log_scale: log s, of the same shape.
    """

    __slots__ = ()

    variance = math.pi**2 / 3
    entropy = 2.0

    @staticmethod
    def quantile(noise: Tensor) -> Tensor:
        """Return the log-odds of Phi(noise), precise in both tails."""
        return log_ndtr(noise) - log_ndtr(-noise)

    @staticmethod
    def log_density(y: Tensor) -> Tensor:
        return F.logsigmoid(y) + F.logsigmoid(-y)


class Logistic(RealPosterior):
    """Independent logistic variables: like Gaussians, with heavier tails.

    The encoder's output holds the locations and the logarithms of the scales, side by side.

    References:
        Auto-Encoding Variational Bayes, Kingma and Welling, 2014, section 2.4 (https://arxiv.org/abs/1312.6114): the
        inverse of the distribution function.
    """

    factorised = True
    any_batch = True

    def forward(self, encoded: Tensor) -> LogisticDistribution:
        return LogisticDistribution(*encoded.chunk(2, dim=-1))
