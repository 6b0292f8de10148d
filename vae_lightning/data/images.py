"""Images and their labels."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from vae_lightning.config.errors import InputError
from vae_lightning.data.mapped_images import MappedImages

__all__ = ["ImageSet", "LabelledImages"]


class LabelledImages(NamedTuple):
    """Images, ``(N, C, H, W)``, as bytes (uint8) or as floats in [0, 1], and their labels, ``(N,)`` of int64.

    The images may be :class:`vae_lightning.data.mapped_images.MappedImages`, which stay in their file. The label of an
    image without one is NaN.
    """

    images: Tensor
    labels: Tensor

    @classmethod
    def unlabelled(cls, images: Tensor) -> "LabelledImages":
        """Return images without labels."""
        return cls(images, torch.full((len(images),), torch.nan))

    @property
    def is_labelled(self) -> bool:
        """Whether the images have labels."""
        return not self.labels.is_floating_point()

    def subset(self, indices: Tensor) -> "LabelledImages":
        """Return the images and labels at the given positions."""
        if isinstance(self.images, MappedImages):
            return LabelledImages(self.images.subset(indices), self.labels[indices])
        # Many times faster than images[indices].
        return LabelledImages(self.images.index_select(0, indices), self.labels[indices])

    def to(self, device: torch.device | str) -> "LabelledImages":
        """Return the images and labels on a device.

        Raises:
            InputError: if there is no such device, or it lacks the memory.
        """
        try:
            return LabelledImages(self.images.to(device), self.labels.to(device))
        except (AssertionError, RuntimeError) as error:  # no such device, or not enough memory there
            raise InputError(
                f"data.device={device}: must be a device of this machine: {str(error).splitlines()[0]}"
            ) from error


class ImageSet(Dataset[tuple[Tensor, Tensor]]):
    """A dataset of images; a tensor of indices selects many at once, as floats in [0, 1]."""

    def __init__(self, data: LabelledImages) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data.labels)

    def __getitem__(self, index: Tensor) -> tuple[Tensor, Tensor]:
        index = index.to(self.data.labels.device, non_blocking=True)
        # Many times faster than images[index].
        images = self.data.images.index_select(0, index.flatten()).unflatten(0, index.shape)
        images = images.float() if images.is_floating_point() else torch.div(images, 255)
        return images, self.data.labels[index]
