"""The inverse autoregressive flow."""

import torch
from torch import Tensor

from vae_lightning.config.arguments import checked
from vae_lightning.posteriors.autoregressive import AutoregressiveDistribution, AutoregressiveFlow

__all__ = ["IAF", "IAFDistribution"]


class IAFDistribution(AutoregressiveDistribution):
    """A Gaussian variable after layers y_i = shift_i + scale_i x_i.

    The scale is exp(3 tanh(c / 3)), between exp(-3) and exp(3): a layer and its inverse are finite.
    """

    __slots__ = ()

    def monotone(self, x: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        shift, log_scale = _shift_and_log_scale(c)
        return shift + log_scale.exp() * x, log_scale

    def monotone_inverse(self, y: Tensor, c: Tensor) -> Tensor:
        shift, log_scale = _shift_and_log_scale(c)
        return (y - shift) * torch.exp(-log_scale)


def _shift_and_log_scale(c: Tensor) -> tuple[Tensor, Tensor]:
    shift, unbounded = c.unbind(-1)
    return shift, 3 * torch.tanh(unbounded / 3)


class IAF(AutoregressiveFlow):
    """Inverse autoregressive flows: each layer shifts and scales a variable given the preceding ones and the image.

    A sample and its density take one pass; the density of any other latents takes ``latent_dim`` passes.

    Arguments:
        latent_dim: number of latent variables.
        layers: number of layers.
        hidden: number of hidden units of a layer.

    Raises:
        InputError: if an argument breaks its rule (:mod:`vae_lightning.posteriors.rules`).

    References:
        Improving Variational Inference with Inverse Autoregressive Flow, Kingma et al., 2016
        (https://arxiv.org/abs/1606.04934), section 3.
    """

    any_batch = True

    @checked
    def __init__(self, latent_dim: int, layers: int = 2, hidden: int = 64) -> None:
        super().__init__(latent_dim, layers, hidden, numbers=2)

    def forward(self, encoded: Tensor) -> IAFDistribution:
        return IAFDistribution(*self.fields(encoded))
