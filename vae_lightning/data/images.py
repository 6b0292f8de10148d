"""Images and labels in memory."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from vae_lightning.config.errors import InputError

__all__ = ["ByteImages", "LabelledImages"]


class LabelledImages(NamedTuple):
    """Images as bytes, ``(N, C, H, W)`` of uint8, and their labels, ``(N,)`` of int64."""

    images: Tensor
    labels: Tensor

    def subset(self, indices: Tensor) -> "LabelledImages":
        """Return the images and labels at the given positions."""
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


class ByteImages(Dataset[tuple[Tensor, Tensor]]):
    """A dataset of images kept as bytes; a tensor of indices selects many at once, scaled to [0, 1] on access."""

    def __init__(self, data: LabelledImages) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data.labels)

    def __getitem__(self, index: Tensor) -> tuple[Tensor, Tensor]:
        index = index.to(self.data.labels.device, non_blocking=True)
        # Many times faster than images[index].
        images = self.data.images.index_select(0, index.flatten()).unflatten(0, index.shape)
        return torch.div(images, 255), self.data.labels[index]
