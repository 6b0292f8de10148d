"""Residual encoder and decoder."""

from collections.abc import Sequence

from torch import nn

from vae_lightning.config.arguments import checked
from vae_lightning.networks.resampling import doubling_layers, halving_layers

__all__ = ["ResidualDecoder", "ResidualEncoder"]


class ResidualEncoder(nn.Sequential):
    """An encoder like :class:`ConvEncoder`, with residual blocks after each convolution.

    Arguments:
        image_shape: ``(C, H, W)``.
        latent_dim: number of latent dimensions.
        channels: number of channels after each convolution that halves.
        blocks: number of residual blocks after each of these, with two convolutions each.
        outputs: number of numbers that the posterior takes; None for 2 * latent_dim, those of a Gaussian.

    Raises:
        InputError: if ``channels`` or ``blocks`` breaks its rule (:mod:`vae_lightning.networks.rules`).

    References:
        Deep Residual Learning for Image Recognition, He et al., 2016 (https://arxiv.org/abs/1512.03385).
        Identity Mappings in Deep Residual Networks, He et al., 2016 (https://arxiv.org/abs/1603.05027): the order of
        layers in a block.
    """

    @checked
    def __init__(
        self,
        image_shape: Sequence[int],
        latent_dim: int,
        channels: Sequence[int] = (16, 32),
        blocks: int = 1,
        outputs: int | None = None,
    ) -> None:
        super().__init__(*halving_layers(image_shape, outputs or 2 * latent_dim, channels, blocks))


class ResidualDecoder(nn.Sequential):
    """A decoder like :class:`ConvDecoder`, with residual blocks before each convolution.

    It mirrors :class:`ResidualEncoder`.

    Arguments:
        image_shape: ``(C, H, W)``.
        latent_dim: number of latent dimensions.
        channels: number of channels before each convolution that doubles; the last one outputs those of the image.
        blocks: number of residual blocks before each of these, with two convolutions each.

    Raises:
        InputError: if ``channels`` or ``blocks`` breaks its rule (:mod:`vae_lightning.networks.rules`).
    """

    @checked
    def __init__(
        self, image_shape: Sequence[int], latent_dim: int, channels: Sequence[int] = (32, 16), blocks: int = 1
    ) -> None:
        super().__init__(*doubling_layers(image_shape, latent_dim, channels, blocks))
