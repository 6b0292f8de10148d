"""Arrays of images and labels in .npy, .npz and IDX files."""

import warnings
import zipfile
from pathlib import Path

import numpy as np
import torch
from numpy.lib import format as npy
from numpy.typing import NDArray
from torch import Tensor

from vae_lightning.config.errors import InputError, one_line
from vae_lightning.data.conversion import image_conversion, label_conversion, scaling, statements
from vae_lightning.data.idx import idx_shape, read_idx, unpacked
from vae_lightning.data.mapped_images import MappedImages
from vae_lightning.memory import check_memory

__all__ = ["header", "image_shape", "mapped_images", "read_images", "read_labels"]

IMAGE_TYPES = (np.uint8, np.float16, np.float32, np.float64)

# Images whose values are looked at together, and those that are looked at before a memory-mapped file is used.
CHUNK, FEW = 1000, 100


def header(place: Path | zipfile.Path) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    """Return the shape and type of an array without reading its values.

    Arguments:
        place: a file, or an array in an .npz file.

    Raises:
        InputError: if it cannot be read.
    """
    with unpacked(place) as stream:
        if not place.name.endswith(".npy"):
            return idx_shape(stream), np.dtype(np.uint8)
        read = npy.read_array_header_1_0 if npy.read_magic(stream) == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read(stream)
        return shape, dtype


def image_shape(place: Path | zipfile.Path) -> tuple[int, ...]:
    """Return ``(C, H, W)`` of an array of images without reading its values.

    Raises:
        InputError: if the array cannot be read, or has another type or shape than images may have.
    """
    shape, dtype = header(place)
    axes = [axis for axis in (1, 3) if len(shape) == 4 and shape[axis] in (1, 3)]
    if dtype not in IMAGE_TYPES or len(shape) not in (3, 4) or (len(shape) == 4 and not axes) or min(shape) < 1:
        raise InputError(
            f"{place}: holds {dtype} of shape {shape}; images must be uint8 or floats in [0, 1], (N, H, W), "
            f"(N, C, H, W) or (N, H, W, C) with C = 1 or 3{statements(place, image_conversion(shape, dtype))}"
        )
    if len(axes) > 1:
        raise InputError(
            f"{place}: holds {dtype} of shape {shape}; it must be clear whether that is (N, C, H, W) or (N, H, W, C)"
            f"{statements(place, image_conversion(shape, dtype))}"
        )
    return (1, *shape[1:]) if len(shape) == 3 else (shape[axes[0]], *(shape[2:] if axes == [1] else shape[1:3]))


def read_images(place: Path | zipfile.Path) -> Tensor:
    """Read images, ``(N, C, H, W)``, as bytes if these become the same numbers, otherwise in single precision.

    Raises:
        InputError: if they cannot be read, or are not images.
    """
    (count, *_), _ = header(place)
    shape = image_shape(place)
    check_memory(f"{place}: shape={(count, *shape)}", count * int(np.prod(shape, dtype=object)))
    values = _channels_first(_array(place), shape)
    if values.dtype == np.uint8:
        return torch.from_numpy(np.ascontiguousarray(values))
    return _as_bytes(torch.from_numpy(np.ascontiguousarray(values, np.float32)), place)


def mapped_images(path: Path | zipfile.Path) -> MappedImages:
    """Return the images of an .npy file, ``(N, C, H, W)``, memory-mapped.

    Raises:
        InputError: if they cannot be read, or are not images.
    """
    shape = image_shape(path)
    try:
        values = _channels_first(np.load(str(path), mmap_mode="r", allow_pickle=False), shape)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: {one_line(error)}; replace it or remove it") from error
    with warnings.catch_warnings():
        # A tensor can be written to, and the file cannot. (A private copy that can would be charged to the memory.)
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        file = torch.from_numpy(values)
    if file.dtype == torch.uint8:
        return MappedImages(file)
    # All values are checked when they are read, and some of them now.
    _check_values(file[:: -(-len(file) // FEW)], path)
    return MappedImages(file, lambda part: _check_values(part, path))


def read_labels(*places: Path | zipfile.Path) -> tuple[list[NDArray[np.int64]], tuple[str, ...] | None]:
    """Read the labels of images.

    Returns:
        The labels of each array, ``(N,)``, and the names of the classes, if labels are strings: label k is the k-th of
        all names in alphabetical order.

    Raises:
        InputError: if an array cannot be read, or is not one of labels.
    """
    for place in places:
        shape, dtype = header(place)
        if dtype.kind not in "iuSU" or len(shape) not in (1, 2) or shape[1:] not in ((), (1,)):
            hint = statements(place, label_conversion(shape, dtype))
            if dtype.kind == "O":
                hint = "; to save strings as such: np.save(file, np.array(labels, dtype=str))"
            raise InputError(
                f"{place}: holds {dtype} of shape {shape}; labels must be whole numbers or strings, (N,) or "
                f"(N, 1){hint}"
            )
    each = [_array(place).reshape(-1) for place in places]
    if all(labels.dtype.kind in "iu" for labels in each):
        return [labels.astype(np.int64) for labels in each], None
    texts = [
        np.char.decode(labels.astype(np.bytes_), "utf-8", "backslashreplace")
        if labels.dtype.kind == "S"
        else labels.astype(np.str_)
        for labels in each
    ]
    names = np.unique(np.concatenate(texts))
    return [np.searchsorted(names, text) for text in texts], tuple(names.tolist())


def _array(place: Path | zipfile.Path) -> NDArray[np.generic]:
    with unpacked(place) as stream:
        return npy.read_array(stream, allow_pickle=False) if place.name.endswith(".npy") else read_idx(stream)


def _channels_first(values: NDArray[np.generic], shape: tuple[int, ...]) -> NDArray[np.generic]:
    """Return a view of images, ``(N, C, H, W)``; ``shape`` is that of an image, ``(C, H, W)``."""
    if values.ndim == 3:
        return values[:, None]
    return values if values.shape[1:] == shape else values.transpose(0, 3, 1, 2)


def _as_bytes(values: Tensor, place: Path | zipfile.Path) -> Tensor:
    """Return floats as bytes if each is a byte / 255, otherwise as they are."""
    exact, levels = True, torch.empty(values.shape, dtype=torch.uint8)
    for source, target in zip(values.split(CHUNK), levels.split(CHUNK), strict=True):
        _check_values(source, place)
        if exact:
            exact = torch.equal(torch.div(target.copy_((source * 255).round()), 255), source)
    return levels if exact else values


def _check_values(images: Tensor, place: Path | zipfile.Path) -> None:
    low, high = map(float, images.aminmax())
    if not (low >= 0 and high <= 1):  # also NaN
        raise InputError(
            f"{place}: holds values from {low:g} to {high:g}; images must be uint8 or floats in [0, 1]"
            f"{statements(place, scaling(low, high))}"
        )
