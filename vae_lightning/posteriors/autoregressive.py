"""Autoregressive flows: layers in which a masked network transforms each variable given the preceding ones."""

import math
from abc import abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vae_lightning.posteriors.flow import FlowDistribution
from vae_lightning.posteriors.gaussian import RealPosterior

__all__ = ["AutoregressiveDistribution", "AutoregressiveFlow", "MaskedNetworks"]


class _Parameters(NamedTuple):
    mu: Tensor
    logvar: Tensor
    context: Tensor
    inner: Tensor
    outer: Tensor
    bias: Tensor


class AutoregressiveDistribution(_Parameters, FlowDistribution):
    r"""A Gaussian variable after layers y_i = g(x_i; c_i), where g is monotone and c_i depends on preceding x alone.

    .. math:: c = \mathrm{elu}(h + x V) \, W + b

    Attributes:
        mu: translation after the layers, ``(..., B, latent_dim)``.
        logvar: twice the logarithm of the scale after the layers, of the same shape.
        context: h of each layer, ``(..., B, layers * hidden)``: all that the layers see of an image.
        inner: V of each layer, ``(..., layers, latent_dim, hidden)``.
        outer: W of each layer, ``(..., layers, hidden, latent_dim * numbers)``.
        bias: b of each layer, ``(..., layers, 1, latent_dim * numbers)``.
    """

    __slots__ = ()

    event_dims = (1, 1, 1, 2, 2, 2)
    shared = ("inner", "outer", "bias")

    @abstractmethod
    def monotone(self, x: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """Return g(x; c) and log g'(x; c), ``(..., B, latent_dim)``.

        Arguments:
            x: ``(..., B, latent_dim)``.
            c: ``(..., B, latent_dim, numbers)``.
        """

    @abstractmethod
    def monotone_inverse(self, y: Tensor, c: Tensor) -> Tensor:
        """Return the x with g(x; c) = y."""

    def flow(self, x: Tensor) -> tuple[Tensor, Tensor]:
        log_slopes = torch.zeros_like(x)
        for layer in range(self.inner.shape[-3]):
            x, log_slope = self.monotone(x, self._network(layer, x))
            log_slopes = log_slopes + log_slope
        return x, log_slopes.sum(-1, keepdim=True)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        log_slopes = torch.zeros_like(y)
        for layer in reversed(range(self.inner.shape[-3])):
            x = torch.zeros_like(y)
            for _ in range(y.shape[-1]):  # each pass completes one more variable, and its gradient
                c = self._network(layer, x)
                x = self.monotone_inverse(y, c)
            log_slopes = log_slopes + self.monotone(x, c)[1]
            y = x
        return y, log_slopes.sum(-1, keepdim=True)

    def _network(self, layer: int, x: Tensor) -> Tensor:
        """Return c, ``(..., B, latent_dim, numbers)``."""
        hidden = self.inner.shape[-1]
        context = self.context[..., layer * hidden : (layer + 1) * hidden]
        units = F.elu(context + x @ self.inner[..., layer, :, :])
        flat = units @ self.outer[..., layer, :, :] + self.bias[..., layer, :, :]
        c: Tensor = flat.unflatten(-1, (x.shape[-1], -1))
        return c


class MaskedNetworks(nn.Module):
    """The weights of the networks of an autoregressive flow, near the identity at first.

    Each hidden unit has a degree: it sees the variables before this place in the order, and those from it on see the
    unit. The order is that of the variables, or the reverse in every other layer.

    Arguments:
        latent_dim: number of variables.
        layers: number of layers.
        hidden: number of hidden units of a layer.
        numbers: number of parameters of the monotone function of a variable.

    References:
        MADE: Masked Autoencoder for Distribution Estimation, Germain et al., 2015 (https://arxiv.org/abs/1502.03509),
        section 4; here degrees start at 0, for units that see the context alone.
    """

    def __init__(self, latent_dim: int, layers: int, hidden: int, numbers: int) -> None:
        super().__init__()
        self.inner = nn.Parameter(torch.randn(layers, latent_dim, hidden) / math.sqrt(latent_dim))
        self.outer = nn.Parameter(0.1 * torch.randn(layers, hidden, latent_dim * numbers) / math.sqrt(hidden))
        self.bias = nn.Parameter(torch.zeros(layers, 1, latent_dim * numbers))

    def forward(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return ``inner``, ``outer`` and ``bias`` of :class:`AutoregressiveDistribution`."""
        layers, size, hidden = self.inner.shape[-3:]
        # Made at each call, because a stack's models must not have buffers.
        place = torch.arange(size, device=self.inner.device)
        places = torch.stack([place.flip(0) if layer % 2 else place for layer in range(layers)])
        degrees = torch.arange(hidden, device=self.inner.device) * size // hidden
        sees = places[:, :, None] < degrees
        seen = degrees[:, None] <= places.repeat_interleave(self.bias.shape[-1] // size, dim=1)[:, None, :]
        return self.inner * sees, self.outer * seen, self.bias


class AutoregressiveFlow(RealPosterior):
    """The base class of posteriors that are autoregressive flows; their samples take one pass.

    The encoder's output holds mu, logvar, and the context of all layers.

    Arguments:
        latent_dim: number of latent variables.
        layers: number of layers.
        hidden: number of hidden units of a layer.
        numbers: number of parameters of the monotone function of a variable.
    """

    def __init__(self, latent_dim: int, layers: int, hidden: int, numbers: int) -> None:
        super().__init__(latent_dim)
        self.context_size = layers * hidden
        self.networks = MaskedNetworks(latent_dim, layers, hidden, numbers)

    @property
    def outputs(self) -> int:
        return 2 * self.latent_dim + self.context_size

    def fields(self, encoded: Tensor) -> tuple[Tensor, ...]:
        """Return the attributes of the :class:`AutoregressiveDistribution` of each image."""
        sizes = [self.latent_dim, self.latent_dim, self.context_size]
        return (*encoded.split(sizes, dim=-1), *self.networks())
