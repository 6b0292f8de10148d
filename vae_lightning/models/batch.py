"""Batches of data of any origin."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from vae_lightning.config.errors import InputError

__all__ = ["images_of", "labels_of"]

# Keys under which data sets put their images and labels.
KEYS = ("image", "images", "x")
LABELS = ("label", "labels", "y", "target", "targets")


def images_of(batch: Any, image_shape: Sequence[int]) -> Tensor:
    """Return the images of a batch, ``(..., C, H, W)``.

    Arguments:
        batch: the images, a tuple or list whose first entry is the images, or a dict with the key ``image``, ``images``
            or ``x``. Images of one channel may come without it, as ``(..., H, W)``.
        image_shape: ``(C, H, W)``.

    Raises:
        InputError: if there are no images in the batch, or they have another shape or are not floating-point numbers.
    """
    images = batch
    if isinstance(batch, Mapping):
        images = next((batch[key] for key in KEYS if key in batch), None)
    elif isinstance(batch, list | tuple):
        images = batch[0] if batch else None
    shape = tuple(image_shape)
    if not isinstance(images, Tensor):
        found = f"a dict with {', '.join(map(str, batch))}" if isinstance(batch, Mapping) else type(batch).__name__
        raise InputError(
            f"batch={found}: must be a tensor of images, a tuple or list whose first entry is one, or a dict with one "
            f"under {', '.join(KEYS)}"
        )
    if not images.is_floating_point():
        raise InputError(f"batch: holds images of {images.dtype}; must be floating-point numbers, e.g. bytes / 255")
    if images.dim() > len(shape) and tuple(images.shape[-len(shape) :]) == shape:
        return images
    if shape[0] == 1 and images.dim() >= len(shape) and tuple(images.shape[-2:]) == shape[1:]:
        return images.unsqueeze(-3)
    raise InputError(f"batch: holds images of shape {tuple(images.shape)}; must be (B, {', '.join(map(str, shape))})")


def labels_of(batch: Any) -> Tensor | None:
    """Return the labels of a batch, the second entry of a tuple or list or a dict's; None if there are none."""
    labels = None
    if isinstance(batch, Mapping):
        labels = next((batch[key] for key in LABELS if key in batch), None)
    elif isinstance(batch, list | tuple) and len(batch) > 1:
        labels = batch[1]
    whole = isinstance(labels, Tensor) and not (labels.is_floating_point() or labels.is_complex())
    return labels if whole else None
