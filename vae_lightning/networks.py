"""Encoders and decoders: of linear layers, convolutions, residual blocks, or of classes of one's own."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from vae_lightning.checks import CONVOLUTIONS, RESIDUAL, InputError, check
from vae_lightning.targets import build

__all__ = [
    "ACTIVATIONS",
    "Batched",
    "ConvDecoder",
    "ConvEncoder",
    "ResidualDecoder",
    "ResidualEncoder",
    "build_network",
    "mlp_decoder",
    "mlp_encoder",
]


# What stands between two linear layers.
ACTIVATIONS: Mapping[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "silu": nn.SiLU,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
}


def mlp_encoder(
    image_shape: Sequence[int], widths: Sequence[int], latent_dim: int, activation: str = "relu"
) -> nn.Sequential:
    """Images ``(..., C, H, W)`` to ``(..., 2 * latent_dim)``: mu and logvar side by side, one matrix for both heads."""
    return nn.Sequential(
        nn.Flatten(start_dim=-len(image_shape)),
        *_mlp([prod(image_shape), *widths, 2 * latent_dim], activation),
    )


def mlp_decoder(
    latent_dim: int, widths: Sequence[int], image_shape: Sequence[int], activation: str = "relu"
) -> nn.Sequential:
    """Latents ``(..., latent_dim)`` to the logits of the pixels ``(..., C, H, W)``."""
    return nn.Sequential(
        *_mlp([latent_dim, *widths, prod(image_shape)], activation),
        nn.Unflatten(-1, tuple(image_shape)),
    )


def _mlp(sizes: Sequence[int], activation: str) -> list[nn.Module]:
    """Linear layers of these sizes with an activation between each two."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), ACTIVATIONS[activation]()]
    return layers[:-1]


class ConvEncoder(nn.Sequential):
    """Images ``(B, C, H, W)`` to ``(B, 2 * latent_dim)`` by convolutions that each halve height and width.

    Arguments:
        image_shape: ``(C, H, W)``; what is odd is halved rounding up.
        latent_dim: number of latent dimensions.
        channels: after each convolution.

    Raises:
        InputError: if ``channels`` is not what :mod:`vae_lightning.checks` allows.

    References:
        A guide to convolution arithmetic for deep learning, Dumoulin and Visin, 2016
        (https://arxiv.org/abs/1603.07285), sections 2.4 and 4.6.

    Example:
        >>> ConvEncoder(image_shape=(3, 15, 16), latent_dim=5)(torch.rand(8, 3, 15, 16)).shape
        torch.Size([8, 10])
    """

    def __init__(self, image_shape: Sequence[int], latent_dim: int, channels: Sequence[int] = (32, 64)) -> None:
        check({"channels": channels}, CONVOLUTIONS)
        super().__init__(*_halving(image_shape, latent_dim, channels, blocks=0))


class ConvDecoder(nn.Sequential):
    """Latents ``(B, latent_dim)`` to logits ``(B, C, H, W)``: the way of :class:`ConvEncoder` back.

    Arguments:
        image_shape: ``(C, H, W)``.
        latent_dim: number of latent dimensions.
        channels: before each convolution; after the last they are the image's.

    Raises:
        InputError: if ``channels`` is not what :mod:`vae_lightning.checks` allows.
    """

    def __init__(self, image_shape: Sequence[int], latent_dim: int, channels: Sequence[int] = (64, 32)) -> None:
        check({"channels": channels}, CONVOLUTIONS)
        super().__init__(*_doubling(image_shape, latent_dim, channels, blocks=0))


class ResidualEncoder(nn.Sequential):
    """As :class:`ConvEncoder`, with residual blocks after each convolution.

    Arguments:
        image_shape: ``(C, H, W)``.
        latent_dim: number of latent dimensions.
        channels: after each convolution that halves.
        blocks: after each of these, of two convolutions each.

    Raises:
        InputError: if ``channels`` or ``blocks`` is not what :mod:`vae_lightning.checks` allows.

    References:
        Deep Residual Learning for Image Recognition, He et al., 2016 (https://arxiv.org/abs/1512.03385).
        Identity Mappings in Deep Residual Networks, He et al., 2016 (https://arxiv.org/abs/1603.05027), of the order
        within a block.
    """

    def __init__(
        self, image_shape: Sequence[int], latent_dim: int, channels: Sequence[int] = (16, 32), blocks: int = 1
    ) -> None:
        check({"channels": channels, "blocks": blocks}, RESIDUAL)
        super().__init__(*_halving(image_shape, latent_dim, channels, blocks))


class ResidualDecoder(nn.Sequential):
    """As :class:`ConvDecoder`, with residual blocks before each convolution: the way of :class:`ResidualEncoder` back.

    Arguments:
        image_shape: ``(C, H, W)``.
        latent_dim: number of latent dimensions.
        channels: before each convolution that doubles; after the last they are the image's.
        blocks: before each of these, of two convolutions each.

    Raises:
        InputError: if ``channels`` or ``blocks`` is not what :mod:`vae_lightning.checks` allows.
    """

    def __init__(
        self, image_shape: Sequence[int], latent_dim: int, channels: Sequence[int] = (32, 16), blocks: int = 1
    ) -> None:
        check({"channels": channels, "blocks": blocks}, RESIDUAL)
        super().__init__(*_doubling(image_shape, latent_dim, channels, blocks))


class _Residual(nn.Module):
    """x + f(x) for maps ``(B, channels, H, W)``, f being two convolutions, a ReLU before each.

    Nothing is normalised: so few layers train without, and by batch normalisation images would depend on each other.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = x + self.layers(x)
        return y


def _halving(image_shape: Sequence[int], latent_dim: int, channels: Sequence[int], blocks: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise([image_shape[0], *channels]):
        layers += [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), *_activation(outputs, blocks)]
    smallest = _sizes(image_shape, len(channels))[-1]
    return [*layers, nn.Flatten(), nn.Linear(channels[-1] * prod(smallest), 2 * latent_dim)]


def _doubling(image_shape: Sequence[int], latent_dim: int, channels: Sequence[int], blocks: int) -> list[nn.Module]:
    *sizes, smallest = _sizes(image_shape, len(channels))
    layers = [
        nn.Linear(latent_dim, channels[0] * prod(smallest)),
        nn.Unflatten(1, (channels[0], *smallest)),
    ]
    for (inputs, outputs), size in zip(pairwise([*channels, image_shape[0]]), reversed(sizes), strict=True):
        # n becomes 2 n - 1, or 2 n with a padded row: whichever the encoder made n of.
        padded = (1 - size[0] % 2, 1 - size[1] % 2)
        doubling = nn.ConvTranspose2d(inputs, outputs, 3, stride=2, padding=1, output_padding=padded)
        layers += [*_activation(inputs, blocks), doubling]
    return layers


def _activation(channels: int, blocks: int) -> list[nn.Module]:
    return [*(_Residual(channels) for _ in range(blocks)), nn.ReLU()]


def _sizes(image_shape: Sequence[int], halvings: int) -> list[tuple[int, int]]:
    """Height and width of the image, and after each halving."""
    _, height, width = image_shape
    sizes = [(height, width)]
    for _ in range(halvings):
        height, width = (height + 1) // 2, (width + 1) // 2
        sizes.append((height, width))
    return sizes


class Batched(nn.Module):
    """A network that knows one batch dimension, for any number of them.

    Arguments:
        network: maps ``(B, ...)`` to ``(B, ...)``.
        dims: the dimensions of one example.
    """

    def __init__(self, network: nn.Module, dims: int) -> None:
        super().__init__()
        self.network, self.dims = network, dims

    def forward(self, x: Tensor) -> Tensor:
        batch, example = x.shape[: x.dim() - self.dims], x.shape[x.dim() - self.dims :]
        y: Tensor = self.network(x.reshape(prod(batch), *example))  # not -1, for a batch may be empty
        return y.reshape(*batch, *y.shape[1:])


def build_network(
    key: str, node: Mapping[str, Any], inputs: Sequence[int], outputs: Sequence[int], **arguments: Any
) -> Batched:
    """The network that a configuration names, if it maps ``(2, *inputs)`` to ``(2, *outputs)``.

    It is tried on two examples of zeros, in evaluation mode. Its weights come from torch's global generator.

    Arguments:
        key: where the node stands, for errors.
        node: ``_target_``, the full name of a ``torch.nn.Module``, and its arguments, plain values.
        inputs: the shape of an example.
        outputs: what it is to become.
        arguments: more of the class's arguments.

    Raises:
        InputError: if there is no such class, it refuses the arguments, fails, or gives another shape.
    """
    given, expected, name = (2, *inputs), (2, *outputs), node["_target_"]
    try:
        network = build(key, node, nn.Module, **arguments)
        modes = [(module, module.training) for module in network.modules()]
        with torch.no_grad():
            found = network.eval()(torch.zeros(given))
    except InputError:
        raise
    except Exception as error:  # whatever a network of one's own raises
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"{key}: {name} fails, to map {given} to {expected}: {said}") from error
    for module, training in modes:
        module.training = training
    shape = tuple(found.shape) if isinstance(found, Tensor) else f"a {type(found).__name__}"
    if shape != expected:
        raise InputError(f"{key}: {name} maps {given} to {shape}: must be {expected}")
    return Batched(network, len(inputs))
