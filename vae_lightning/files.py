"""One's own images, from a folder of IDX or .npy files, or from a .npz."""

import zipfile
from functools import cached_property
from pathlib import Path
from typing import Unpack

import numpy as np
import torch
from numpy.lib import format as npy
from numpy.typing import NDArray

from vae_lightning.checks import FILES as RULES
from vae_lightning.checks import InputError, check
from vae_lightning.data import ImageDataModule, ImageOptions, LabelledImages, set_apart
from vae_lightning.idx import idx_shape, read_idx, unpacked
from vae_lightning.mnist import FILES
from vae_lightning.streams import generator

__all__ = ["FilesDataModule"]

# The arrays that are looked for: with a test set, or without.
SETS = ("train_images", "train_labels", "test_images", "test_labels")
PAIR = ("images", "labels")


class FilesDataModule(ImageDataModule):
    """One's own images and labels.

    Images are bytes (uint8), ``(N, H, W)`` or ``(N, H, W, C)`` with one or three channels; labels are any whole
    numbers, ``(N,)`` or ``(N, 1)``. Nothing is unpickled.

    Arguments:
        path: a folder or a .npz. A folder holds MNIST's four names (``train-images-idx3-ubyte``, ..., gzipped or not),
            or .npy files; a .npz arrays. These are ``train_images``, ``train_labels``, ``test_images`` and
            ``test_labels``, or just ``images`` and ``labels``. Others are not looked at.
        test_size: of ``images`` and ``labels`` alone, how many are set apart for test, the labels in equal parts,
            always the same. A test set of one's own is taken whole.

    The other arguments are those of :class:`vae_lightning.data.ImageDataModule`, ``val_size`` being 1000 if it is not
    given.

    Raises:
        InputError: if an argument is not what :mod:`vae_lightning.checks` allows; in :attr:`image_shape` and
            :meth:`setup`, if a file is missing, cannot be read, or does not hold what it should.

    References:
        NEP 1, a simple file format for NumPy arrays (https://numpy.org/neps/nep-0001-npy-format.html).
    """

    def __init__(self, path: str, test_size: int = 1000, **options: Unpack[ImageOptions]) -> None:
        super().__init__(**(ImageOptions(val_size=1000) | options))
        check({"path": path, "test_size": test_size}, RULES)
        self.path, self.test_size = Path(path).expanduser(), test_size

    @cached_property
    def image_shape(self) -> tuple[int, ...]:
        """``(C, H, W)``, from the header of the training images."""
        return _image_shape(next(iter(self._places().values())))

    def read(self) -> tuple[LabelledImages, LabelledImages]:
        places = [*self._places().values()]
        parts = [_labelled(*pair) for pair in zip(places[::2], places[1::2], strict=True)]
        if len(parts) == 1:
            count = len(parts[0].labels)
            if self.test_size >= count:
                raise InputError(
                    f"data.test_size={self.test_size}: must be a whole number from 1 to {count - 1}, "
                    f"for {self.path} has {count} images"
                )
            test, train = set_apart(parts[0], self.test_size, generator(0, "test"))
            return train, test
        return parts[0], parts[1]

    def _places(self) -> dict[str, Path | zipfile.Path]:
        """Where the arrays are: images and labels, the same for test, or only the first two."""
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
                f"data.path={self.path}: {', '.join(missing)} missing there; must be a folder or .npz with "
                f"{', '.join(SETS)}, or with {' and '.join(PAIR)}, or a folder with {', '.join(FILES)}"
            )
        return {name: found[name] for name in wanted}


def _header(place: Path | zipfile.Path) -> tuple[tuple[int, ...], str]:
    """An array's shape and type, without reading it."""
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
    """``(C, H, W)`` of an array of images, which is not read."""
    shape, dtype = _header(place)
    if dtype != "uint8" or len(shape) not in (3, 4) or shape[3:] not in ((), (1,), (3,)) or 0 in shape:
        raise InputError(
            f"{place}: holds {dtype} of {shape}; images must be uint8, (N, H, W), or (N, H, W, C) with C = 1 or 3"
        )
    return (*(shape[3:] or (1,)), *shape[1:3])


def _labelled(images: Path | zipfile.Path, labels: Path | zipfile.Path) -> LabelledImages:
    image_shape, (shape, dtype) = _image_shape(images), _header(labels)
    if not dtype.startswith(("int", "uint")) or len(shape) not in (1, 2) or shape[1:] not in ((), (1,)):
        raise InputError(f"{labels}: holds {dtype} of {shape}; labels must be whole numbers, (N,) or (N, 1)")
    count = _header(images)[0][0]
    if shape[0] != count:
        raise InputError(f"{labels}: holds {shape[0]} labels, and {images} {count} images")
    channels, height, width = image_shape
    pixels = _array(images).reshape(count, height, width, channels).transpose(0, 3, 1, 2)
    return LabelledImages(
        torch.from_numpy(np.ascontiguousarray(pixels)), torch.from_numpy(_array(labels).reshape(-1).astype(np.int64))
    )
