"""Selections of a few evenly spaced images."""

from collections.abc import Iterable

import torch
from torch import Tensor

from vae_lightning.data.image_data_module import ImageDataModule

__all__ = ["places", "spread", "watched_images"]


def places(available: int, count: int) -> Tensor:
    """Return up to ``count`` evenly spaced positions out of ``available``."""
    return torch.arange(min(available, count)) * available // min(available, count)


def spread(batches: Iterable[tuple[Tensor, Tensor]], count: int) -> tuple[Tensor, Tensor]:
    """Return up to ``count`` images and their labels, evenly spaced over all batches."""
    images, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    chosen = places(len(images), count)
    return images[chosen], labels[chosen]


def watched_images(data: object, count: int) -> tuple[Tensor, str]:
    """Return images to watch during training, and their stage: ``"val"``, or ``"train"`` without validation.

    Arguments:
        data: a LightningDataModule, after its ``setup``.
        count: maximum number of images.
    """
    batches = data.val_dataloader()  # type: ignore[attr-defined]
    if len(batches):
        return spread(batches, count)[0], "val"
    if isinstance(data, ImageDataModule):
        assert data.train is not None
        return data.train[places(len(data.train), count)][0], "train"
    return spread(data.train_dataloader(), count)[0], "train"  # type: ignore[attr-defined]
