"""A normalising flow as a prior."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vae_lightning.config.arguments import checked
from vae_lightning.posteriors.autoregressive import MaskedNetworks
from vae_lightning.posteriors.iaf import IAFDistribution
from vae_lightning.priors.prior import Prior

__all__ = ["Flow", "MAFDistribution"]


class MAFDistribution(IAFDistribution):
    """A masked autoregressive flow: the inverse of the layers of an inverse autoregressive flow.

    A density takes one pass, and a sample ``latent_dim`` passes, instead of the reverse.
    """

    __slots__ = ()
    in_closed_form = True

    def flow(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y, log_det = super().inverse(x)
        return y, -log_det

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        x, log_det = super().flow(y)
        return x, -log_det


class Flow(Prior):
    """A masked autoregressive flow over N(0, I), the same for all images; it is near N(0, I) at first.

    Arguments:
        latent_dim: number of latent variables.
        image_shape: not used.
        layers: number of layers.
        hidden: number of hidden units of a layer.

    Raises:
        InputError: if an argument breaks its rule (:mod:`vae_lightning.priors.rules`).

    References:
        Masked Autoregressive Flow for Density Estimation, Papamakarios, Pavlakou and Murray, 2017
        (https://arxiv.org/abs/1705.07057), section 3.
        Variational Lossy Autoencoder, Chen et al., 2017 (https://arxiv.org/abs/1611.02731), section 3.2: such a prior.
    """

    support = "real numbers"
    any_batch = True

    @checked
    def __init__(self, latent_dim: int, image_shape: Sequence[int], layers: int = 4, hidden: int = 64) -> None:
        super().__init__(latent_dim, image_shape)
        self.mu = nn.Parameter(torch.zeros(1, latent_dim))
        self.logvar = nn.Parameter(torch.zeros(1, latent_dim))
        self.context = nn.Parameter(torch.randn(1, layers * hidden) / math.sqrt(latent_dim))
        self.networks = MaskedNetworks(latent_dim, layers, hidden, numbers=2)

    def forward(self, model: Any, like: Tensor) -> MAFDistribution:
        return MAFDistribution(self.mu, self.logvar, self.context, *self.networks())
