"""Convolutional encoder and decoder."""

from collections.abc import Sequence

from torch import nn

from vae_lightning.config.arguments import checked
from vae_lightning.networks.resampling import doubling_layers, halving_layers

__all__ = ["ConvDecoder", "ConvEncoder"]


class ConvEncoder(nn.Sequential):
    """A convolutional encoder: images ``(B, C, H, W)`` to ``(B, outputs)``.

    Each convolution halves height and width.

    Arguments:
        image_shape: ``(C, H, W)``; the halves of odd heights and widths are rounded up.
        latent_dim: number of latent dimensions.
        channels: number of channels after each convolution.
        outputs: number of numbers that the posterior takes; None for 2 * latent_dim, those of a Gaussian.

    Raises:
        InputError: if ``channels`` breaks its rule (:mod:`vae_lightning.networks.rules`).

    References:
        A guide to convolution arithmetic for deep learning, Dumoulin and Visin, 2016
        (https://arxiv.org/abs/1603.07285), sections 2.4 and 4.6.

    Example:
        >>> import torch
        >>> ConvEncoder(image_shape=(3, 15, 16), latent_dim=5)(torch.rand(8, 3, 15, 16)).shape
        torch.Size([8, 10])
    """

    @checked
    def __init__(
        self,
        image_shape: Sequence[int],
        latent_dim: int,
        channels: Sequence[int] = (32, 64),
        outputs: int | None = None,
    ) -> None:
        super().__init__(*halving_layers(image_shape, outputs or 2 * latent_dim, channels, blocks=0))


class ConvDecoder(nn.Sequential):
    """A convolutional decoder: latents ``(B, latent_dim)`` to logits ``(B, C, H, W)``, mirroring :class:`ConvEncoder`.

    Arguments:
        image_shape: ``(C, H, W)``.
        latent_dim: number of latent dimensions.
        channels: number of channels before each convolution; the last one outputs the channels of the image.

    Raises:
        InputError: if ``channels`` breaks its rule (:mod:`vae_lightning.networks.rules`).
    """

    @checked
    def __init__(self, image_shape: Sequence[int], latent_dim: int, channels: Sequence[int] = (64, 32)) -> None:
        super().__init__(*doubling_layers(image_shape, latent_dim, channels, blocks=0))
