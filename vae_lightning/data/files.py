"""Custom images, read from files."""

import zipfile
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Unpack

import numpy as np
import torch
from numpy.lib import format as npy
from numpy.typing import NDArray

from vae_lightning.config.arguments import checked
from vae_lightning.config.errors import InputError
from vae_lightning.data.idx import idx_shape, read_idx, unpacked
from vae_lightning.data.image_data_module import ImageDataModule, ImageOptions
from vae_lightning.data.images import LabelledImages
from vae_lightning.data.published import FILES
from vae_lightning.data.split import set_apart
from vae_lightning.memory import check_memory
from vae_lightning.streams import generator

__all__ = ["FilesDataModule"]

# Names of the arrays, with a test set and without.
SETS = ("train_images", "train_labels", "test_images", "test_labels")
PAIR = ("images", "labels")


class FilesDataModule(ImageDataModule):
    """Custom images and labels.

    Images are bytes (uint8), ``(N, H, W)`` or ``(N, H, W, C)`` with one or three channels; labels are any whole
    numbers, ``(N,)`` or ``(N, 1)``. Nothing is unpickled.

    Arguments:
        path: a folder or an .npz file. A folder holds four files with MNIST's names (``train-images-idx3-ubyte``, ...,
            gzipped or not) or .npy files, and an .npz file holds arrays. The .npy files or arrays are named
            ``train_images``, ``train_labels``, ``test_images`` and ``test_labels``, or just ``images`` and ``labels``.
            Others are ignored.
        test_size: number of test images to set apart, if there are only ``images`` and ``labels``: always the same
            ones, stratified by label. An existing test set is used in full.

    The other arguments are those of :class:`vae_lightning.data.ImageDataModule`, except that ``val_size`` defaults to
    1000.

    Raises:
        InputError: if an argument breaks its rule (:mod:`vae_lightning.data.rules`); in :attr:`image_shape`,
            :attr:`classes` and :meth:`setup`, if a file is missing, cannot be read, or has unexpected contents.

    References:
        NEP 1, a simple file format for NumPy arrays (https://numpy.org/neps/nep-0001-npy-format.html).
    """

    @checked
    def __init__(self, path: str, test_size: int = 1000, **options: Unpack[ImageOptions]) -> None:
        super().__init__(**(ImageOptions(val_size=1000) | options))
        self.path, self.test_size = Path(path).expanduser(), test_size

    @cached_property
    def image_shape(self) -> tuple[int, ...]:
        """``(C, H, W)``, read from the header of the training images."""
        return _image_shape(next(iter(self._places().values())))

    @cached_property
    def classes(self) -> int:
        """The largest label of all files, plus 1."""
        return 1 + max(int(_array(place).max()) for name, place in self._places().items() if name.endswith("labels"))

    def read(self) -> tuple[LabelledImages, LabelledImages]:
        places = [*self._places().values()]
        parts = [_labelled(*pair) for pair in zip(places[::2], places[1::2], strict=True)]
        if len(parts) == 1:
            count = len(parts[0].labels)
            if self.test_size >= count:
                raise InputError(
                    f"data.test_size={self.test_size}: must be a whole number from 1 to {count - 1}, "
                    f"because {self.path} has {count} images"
                )
            test, train = set_apart(parts[0], self.test_size, generator(0, "test"))
            return train, test
        return parts[0], parts[1]

    def _places(self) -> dict[str, Path | zipfile.Path]:
        """Return the paths of images and labels by name: those for training and then those for testing, or one pair."""
        try:
            root = zipfile.Path(self.path) if zipfile.is_zipfile(self.path) else self.path
        except zipfile.BadZipFile as error:
            raise InputError(f"data.path={self.path}: cannot be read ({error})") from error
        candidates = {name: [f"{name}.npy"] for name in PAIR}
        candidates |= {name: [f"{name}.npy", idx, f"{idx}.gz"] for name, idx in zip(SETS, FILES, strict=True)}
        found = {}
        for name, files in candidates.items():
            place = next((root / file for file in files if (root / file).is_file()), None)
            if place is not None:
                found[name] = place
        wanted = PAIR if found and found.keys() <= set(PAIR) else SETS
        missing = [name for name in wanted if name not in found]
        if missing:
            raise InputError(
                f"data.path={self.path}: {', '.join(missing)} missing there; must be a folder or .npz file with "
                f"{', '.join(SETS)}, or with {' and '.join(PAIR)}, or a folder with {', '.join(FILES)}"
            )
        return {name: found[name] for name in wanted}


def _header(place: Path | zipfile.Path) -> tuple[tuple[int, ...], str]:
    """Return the shape and dtype of an array without reading its values."""
    with unpacked(place) as stream:
        if not place.name.endswith(".npy"):
            return idx_shape(stream), "uint8"
        read = npy.read_array_header_1_0 if npy.read_magic(stream) == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read(stream)
        return shape, str(dtype)


def _array(place: Path | zipfile.Path) -> NDArray[np.generic]:
    with unpacked(place) as stream:
        return npy.read_array(stream, allow_pickle=False) if place.name.endswith(".npy") else read_idx(stream)


def _image_shape(place: Path | zipfile.Path) -> tuple[int, ...]:
    """Return ``(C, H, W)`` of an array of images without reading its values."""
    shape, dtype = _header(place)
    if dtype != "uint8" or len(shape) not in (3, 4) or shape[3:] not in ((), (1,), (3,)) or min(shape) < 1:
        raise InputError(
            f"{place}: holds {dtype} of shape {shape}; images must be uint8, (N, H, W), or (N, H, W, C) with C = 1 or 3"
        )
    check_memory(f"{place}: shape={shape}", prod(shape))
    return (*(shape[3:] or (1,)), *shape[1:3])


def _labelled(images: Path | zipfile.Path, labels: Path | zipfile.Path) -> LabelledImages:
    image_shape, (shape, dtype) = _image_shape(images), _header(labels)
    if not dtype.startswith(("int", "uint")) or len(shape) not in (1, 2) or shape[1:] not in ((), (1,)):
        raise InputError(f"{labels}: holds {dtype} of shape {shape}; labels must be whole numbers, (N,) or (N, 1)")
    count = _header(images)[0][0]
    if shape[0] != count:
        raise InputError(f"{labels}: holds {shape[0]} labels, but {images} holds {count} images")
    channels, height, width = image_shape
    pixels = _array(images).reshape(count, height, width, channels).transpose(0, 3, 1, 2)
    return LabelledImages(
        torch.from_numpy(np.ascontiguousarray(pixels)), torch.from_numpy(_array(labels).reshape(-1).astype(np.int64))
    )
