"""Selections of images: splits, and a few evenly spaced ones."""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import Tensor

from vae_lightning.config.errors import InputError
from vae_lightning.data.image_data_module import ImageDataModule
from vae_lightning.data.images import ImageSet
from vae_lightning.models.batch import images_of, labels_of

__all__ = ["SPLITS", "places", "split_batches", "spread", "validation_batches", "watched_images"]

# The stage of a datamodule's setup for each split.
SPLITS = {"train": "fit", "val": "validate", "test": "test"}


def places(available: int, count: int) -> Tensor:
    """Return up to ``count`` evenly spaced positions out of ``available``."""
    return torch.arange(min(available, count)) * available // min(available, count)


def spread(batches: Iterable[Any], count: int, image_shape: Sequence[int]) -> tuple[Tensor, Tensor | None]:
    """Return up to ``count`` images and their labels, evenly spaced over all batches; None for missing labels.

    Arguments:
        batches: in any form that :func:`vae_lightning.models.batch.images_of` knows.
        count: maximum number of images.
        image_shape: ``(C, H, W)``.
    """
    dataset = getattr(batches, "dataset", None)
    if isinstance(dataset, ImageSet):  # whose batches need not all be read
        few = dataset[places(len(dataset), count)]
        return few[0], labels_of(few)
    pairs = [(images_of(batch, image_shape), labels_of(batch)) for batch in batches]
    images, labels = torch.cat([part for part, _ in pairs]), [part for _, part in pairs if part is not None]
    chosen = places(len(images), count)
    return images[chosen], torch.cat(labels).flatten()[chosen] if len(labels) == len(pairs) else None


def split_batches(data: LightningDataModule, split: str) -> Any:
    """Return the batches of a split in a fixed order, after the datamodule's ``prepare_data`` and ``setup``.

    Arguments:
        data: the datamodule.
        split: ``train``, ``val`` or ``test``.

    Raises:
        InputError: if the data have no such images, or the order of the training images is not known.
    """
    if split == "train" and not isinstance(data, ImageDataModule):
        raise InputError(
            "split=train: must be test or val, unless data is an ImageDataModule, which orders its training images"
        )
    data.prepare_data()
    data.setup(SPLITS[split])
    if isinstance(data, ImageDataModule) and split == "train":
        assert data.train is not None
        return data.ordered_dataloader(data.train)
    batches = data.test_dataloader() if split == "test" else validation_batches(data)
    if not len(batches):
        raise InputError(f"split={split}: must be another, because the data have no such images")
    return batches


def validation_batches(data: LightningDataModule) -> Any:
    """Return the validation batches of a datamodule; an empty list if it has no validation."""
    return (data.val_dataloader() or []) if is_overridden("val_dataloader", data) else []


def watched_images(
    data: LightningDataModule, count: int, image_shape: Sequence[int]
) -> tuple[tuple[Tensor, Tensor | None], str]:
    """Return images to watch during training, their labels, and their stage.

    The stage is ``"val"``, or ``"train"`` without validation.

    Arguments:
        data: a LightningDataModule, after its ``setup``.
        count: maximum number of images.
        image_shape: ``(C, H, W)``.
    """
    batches = validation_batches(data)
    if len(batches):
        return spread(batches, count, image_shape), "val"
    if isinstance(data, ImageDataModule):
        assert data.train is not None
        return data.train[places(len(data.train), count)], "train"
    return spread(data.train_dataloader(), count, image_shape), "train"
