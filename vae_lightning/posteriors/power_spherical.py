"""The power spherical posterior."""

import torch
from torch import Tensor

from vae_lightning.posteriors.tangent_normal import TangentNormal, TangentNormalDistribution

__all__ = ["PowerSpherical", "PowerSphericalDistribution"]


class PowerSphericalDistribution(TangentNormalDistribution):
    r"""The power spherical distribution on the unit sphere.

    .. math:: q(z) \propto (1 + \mu^\top z)^\kappa

    Attributes:
        mu: mean directions, unit vectors, ``(..., B, latent_dim)``.
        kappa: concentrations, ``(..., B, 1)``.
    """

    __slots__ = ()

    @staticmethod
    def statistic(below: Tensor, log_above: Tensor) -> Tensor:
        """Return log((1 + w) / 2)."""
        return log_above

    @staticmethod
    def slope(below: Tensor) -> Tensor:
        return below

    @staticmethod
    def mode(ratio: Tensor) -> Tensor:
        return torch.log1p(ratio)


class PowerSpherical(TangentNormal):
    """The power spherical distribution, with a mean direction and a concentration from the encoder.

    It is close to the von Mises-Fisher distribution, with somewhat heavier tails.

    References:
        The Power Spherical distribution, De Cao and Aziz, 2020 (https://arxiv.org/abs/2006.04437), equation 7.
    """

    any_batch = True
    family = PowerSphericalDistribution
