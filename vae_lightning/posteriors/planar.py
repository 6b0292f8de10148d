"""The planar flow."""

import math

from torch import Tensor
from torch.nn import functional as F

from vae_lightning.config.arguments import checked
from vae_lightning.posteriors.gaussian import RealPosterior
from vae_lightning.posteriors.tanh_flow import TanhFlowDistribution

__all__ = ["Planar", "PlanarDistribution"]

# The smallest slope of a layer along w, 1 + w^T u: its logarithm and its inverse are finite in any precision.
LEAST_SLOPE = 0.05

# softplus(x + OFFSET) + LEAST_SLOPE is 1 at x = 0: a layer with u = 0 is the identity.
OFFSET = math.log(math.expm1(1 - LEAST_SLOPE))


class PlanarDistribution(TanhFlowDistribution):
    """A Gaussian variable after layers of rank 1, which stretch or compress space around one plane each."""

    __slots__ = ()


class Planar(RealPosterior):
    """Planar flows with parameters from the encoder.

    The encoder's output holds mu, logvar, and u, w and b of all layers. The component of u along w is replaced by one
    with 1 + w^T u > 0, through a softplus that leaves u = 0 unchanged, which the paper's does not.

    Arguments:
        latent_dim: number of latent variables.
        layers: number of layers.

    Raises:
        InputError: if an argument breaks its rule (:mod:`vae_lightning.posteriors.rules`).

    References:
        Variational Inference with Normalizing Flows, Rezende and Mohamed, 2015 (https://arxiv.org/abs/1505.05770),
        section 4.1 and appendix A.1.
    """

    any_batch = True

    @checked
    def __init__(self, latent_dim: int, layers: int = 4) -> None:
        super().__init__(latent_dim)
        self.layers = layers

    @property
    def outputs(self) -> int:
        return 2 * self.latent_dim + self.layers * (2 * self.latent_dim + 1)

    def forward(self, encoded: Tensor) -> PlanarDistribution:
        size, layers = self.latent_dim, self.layers
        mu, logvar, u, w, bias = encoded.split([size, size, layers * size, layers * size, layers], dim=-1)
        u, columns = u.unflatten(-1, (layers, size)), w.unflatten(-1, (layers, size))
        along = (u * columns).sum(-1)
        product = LEAST_SLOPE - 1 + F.softplus(along + OFFSET)
        # A w of zero has no direction, but product - along is then zero, too.
        change = (product - along) / columns.square().sum(-1).clamp(min=1e-12)
        u = u + change[..., None] * columns
        return PlanarDistribution(mu, logvar, u.flatten(-2), w, bias, product)
