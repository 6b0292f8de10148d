"""Binarised images."""

import torch
from torch import Tensor

from vae_lightning.data.images import ImageSet, LabelledImages
from vae_lightning.streams import generator

__all__ = ["DynamicImages", "ThresholdImages", "binarised"]


def binarised(data: LabelledImages, generator: torch.Generator) -> LabelledImages:
    """Draw each pixel: white (255) with its grey value in [0, 1] as the probability, otherwise black."""
    if data.images.is_floating_point():
        bounds = torch.rand(data.images.shape, generator=generator)  # below 1
    else:
        bounds = torch.empty(data.images.shape, dtype=torch.uint8).random_(0, 255, generator=generator)  # 0 to 254
    return data._replace(images=(data.images > bounds.to(data.images.device)).to(torch.uint8) * 255)


class ThresholdImages(ImageSet):
    """Images whose pixels are white from a grey value of one half upwards, otherwise black."""

    def __getitem__(self, index: Tensor) -> tuple[Tensor, Tensor]:
        images, labels = super().__getitem__(index)
        return (images >= 0.5).float(), labels


class DynamicImages(ImageSet):
    """Images that are binarised anew in each epoch, with a fixed draw before the first.

    Arguments:
        data: grey images.
        split_seed: seed of the pixels before the first epoch.
        seed: seed of the pixels of each epoch.

    References:
        On the quantitative analysis of deep belief networks, Salakhutdinov and Murray, 2008
        (https://doi.org/10.1145/1390156.1390266): grey values as probabilities.
    """

    def __init__(self, data: LabelledImages, split_seed: int, seed: int) -> None:
        super().__init__(binarised(data, generator(split_seed, "binarisation", 0)))
        self.grey, self.seed = data, seed

    def set_epoch(self, epoch: int) -> None:
        """Draw the pixels of an epoch; they depend on the seed and the epoch, but not on the order of the images."""
        self.data = binarised(self.grey, generator(self.seed, "pixels", epoch))
