"""Encoder and decoder made of linear layers."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import prod
from typing import Any

from torch import nn

from vae_lightning.networks.custom import build_network

__all__ = ["ACTIVATIONS", "mlp_decoder", "mlp_encoder"]

# Activations between linear layers, by name.
ACTIVATIONS: Mapping[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
}


def mlp_encoder(
    image_shape: Sequence[int], widths: Sequence[int], outputs: int, activation: str | Mapping[str, Any] = "relu"
) -> nn.Sequential:
    """Return an encoder: images ``(..., C, H, W)`` to ``(..., outputs)``.

    The output is all parameters of the posterior side by side, from one matrix for all heads.

    Arguments:
        image_shape: ``(C, H, W)``.
        widths: those of the hidden layers, of any number.
        outputs: number of outputs.
        activation: a name of :data:`ACTIVATIONS`, or ``_target_`` and the arguments of a ``torch.nn.Module``.
    """
    return nn.Sequential(
        nn.Flatten(start_dim=-len(image_shape)),
        *_mlp([prod(image_shape), *widths, outputs], activation),
    )


def mlp_decoder(
    latent_dim: int, widths: Sequence[int], image_shape: Sequence[int], activation: str | Mapping[str, Any] = "relu"
) -> nn.Sequential:
    """Return a decoder: latents ``(..., latent_dim)`` to the logits of the pixels, ``(..., C, H, W)``.

    Arguments:
        latent_dim: number of inputs.
        widths: those of the hidden layers, of any number.
        image_shape: ``(C, H, W)``.
        activation: as for :func:`mlp_encoder`.
    """
    return nn.Sequential(
        *_mlp([latent_dim, *widths, prod(image_shape)], activation),
        nn.Unflatten(-1, tuple(image_shape)),
    )


def _mlp(sizes: Sequence[int], activation: str | Mapping[str, Any]) -> list[nn.Module]:
    """Return linear layers of these sizes with an activation between consecutive ones."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), _activation(activation, outputs)]
    return layers[:-1]


def _activation(activation: str | Mapping[str, Any], width: int) -> nn.Module:
    if isinstance(activation, str):
        return ACTIVATIONS[activation]()
    return build_network("activation", activation, [width], [width]).network
