"""The von Mises-Fisher posterior."""

import torch
from torch import Tensor

from vae_lightning.posteriors.tangent_normal import TangentNormal, TangentNormalDistribution

__all__ = ["VonMisesFisher", "VonMisesFisherDistribution"]


class VonMisesFisherDistribution(TangentNormalDistribution):
    r"""The von Mises-Fisher distribution on the unit sphere.

    .. math:: q(z) \propto \exp(\kappa \mu^\top z)

    Attributes:
        mu: mean directions, unit vectors, ``(..., B, latent_dim)``.
        kappa: concentrations, ``(..., B, 1)``.
    """

    __slots__ = ()

    @staticmethod
    def statistic(below: Tensor, log_above: Tensor) -> Tensor:
        """Return w - 1, which keeps its precision near w = 1."""
        return -2 * below

    @staticmethod
    def slope(below: Tensor) -> Tensor:
        return 2 * below * (1 - below)

    @staticmethod
    def mode(ratio: Tensor) -> Tensor:
        return torch.asinh(ratio)


class VonMisesFisher(TangentNormal):
    """The von Mises-Fisher distribution, with a mean direction and a concentration from the encoder.

    Samples are quantiles, so that their gradient has no bias. A gradient through the accepted proposals of a rejection
    sampler has one for ``latent_dim`` above 3, unless a term for the acceptance is added.

    References:
        Hyperspherical Variational Auto-Encoders, Davidson et al., 2018 (https://arxiv.org/abs/1804.00891), section 3.2.
    """

    any_batch = True
    family = VonMisesFisherDistribution
