"""Custom images, read from files of arrays."""

import logging
import zipfile
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Unpack

import numpy as np
import torch
from numpy.typing import NDArray

from vae_lightning.config.arguments import checked
from vae_lightning.config.errors import InputError
from vae_lightning.data.arrays import header, image_shape, mapped_images, read_images, read_labels
from vae_lightning.data.image_data_module import ImageDataModule, ImageOptions
from vae_lightning.data.images import LabelledImages
from vae_lightning.data.published import FILES
from vae_lightning.data.split import set_apart
from vae_lightning.distributed import rank
from vae_lightning.memory import available_memory
from vae_lightning.streams import generator

__all__ = ["FilesDataModule"]

log = logging.getLogger(__name__)

# Names of the arrays, with a test set and without.
SETS = ("train_images", "train_labels", "test_images", "test_labels")
PAIR = ("images", "labels")


class FilesDataModule(ImageDataModule):
    """Custom images and labels.

    Images are bytes (uint8) or floats in [0, 1], ``(N, H, W)``, ``(N, C, H, W)`` or ``(N, H, W, C)`` with one or three
    channels; labels are any whole numbers or strings, ``(N,)`` or ``(N, 1)``, or missing. Nothing is unpickled.

    Arguments:
        path: a folder, an .npz file or an .npy file of images. A folder holds four files with MNIST's names
            (``train-images-idx3-ubyte``, ..., gzipped or not) or .npy files, and an .npz file holds arrays. The .npy
            files or arrays are named ``train_images``, ``train_labels``, ``test_images`` and ``test_labels``, or just
            ``images`` and ``labels``; the labels may be missing. Others are ignored.
        memory_map: leave the images in their .npy files and read each batch from there. The results are the same.
            ``"auto"``: if the images would take more than half of the available memory, and may be mapped.
        test_size: number of test images to set apart, if there are only ``images`` and ``labels``: always the same
            ones, stratified by label. An existing test set is used in full.

    The other arguments are those of :class:`vae_lightning.data.ImageDataModule`, except that ``val_size`` defaults to
    1000.

    Raises:
        InputError: if an argument breaks its rule (:mod:`vae_lightning.data.rules`), or ``memory_map`` is true with
            images that cannot be mapped; in :attr:`image_shape`, :attr:`classes` and :meth:`setup`, if a file is
            missing, cannot be read, or has unexpected contents.

    References:
        NEP 1, a simple file format for NumPy arrays (https://numpy.org/neps/nep-0001-npy-format.html).
    """

    @checked
    def __init__(
        self, path: str, memory_map: bool | str = "auto", test_size: int = 1000, **options: Unpack[ImageOptions]
    ) -> None:
        super().__init__(**(ImageOptions(val_size=1000) | options))
        self.path, self.memory_map, self.test_size = Path(path).expanduser(), memory_map, test_size
        if memory_map is True and self.device != "cpu":
            raise InputError(f"data.device={self.device}: must be cpu, because data.memory_map=true")
        if memory_map is True and self.binarisation == "dynamic":
            raise InputError(
                "data.binarisation=dynamic: must be none or threshold, because data.memory_map=true, and the pixels of "
                "an epoch are drawn into memory"
            )

    @cached_property
    def image_shape(self) -> tuple[int, ...]:
        """``(C, H, W)``, read from the header of the training images."""
        return image_shape(self._places["images"][0])

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """The names of the classes 0, 1, ..., if the labels are strings."""
        return self._labels[1]

    @property
    def classes(self) -> int | None:
        """The largest label of all files, plus 1; None without labels."""
        return 1 + max(int(labels.max()) for labels in self._labels[0]) if self._labels[0] else None

    def read(self) -> tuple[LabelledImages, LabelledImages]:
        read = mapped_images if self._is_mapped else read_images
        images = [*map(read, self._places["images"])]
        labels = map(torch.from_numpy, self._labels[0])
        parts = [*map(LabelledImages, images, labels)] or [*map(LabelledImages.unlabelled, images)]
        if len(parts) == 2:
            return parts[0], parts[1]
        count = len(images[0])
        if self.test_size >= count:
            raise InputError(
                f"data.test_size={self.test_size}: must be a whole number from 1 to {count - 1}, "
                f"because {self.path} has {count} images"
            )
        test, train = set_apart(parts[0], self.test_size, generator(0, "test"))
        return train, test

    @cached_property
    def _labels(self) -> tuple[list[NDArray[np.int64]], tuple[str, ...] | None]:
        for images, labels in zip(self._places["images"], self._places["labels"], strict=False):
            count, found = (header(place)[0][:1] for place in (images, labels))
            if found not in ((), count):
                raise InputError(f"{labels}: holds {found[0]} labels, but {images} holds {count[0]} images")
        return read_labels(*self._places["labels"])

    @cached_property
    def _is_mapped(self) -> bool:
        places = self._places["images"]
        other = next((place for place in places if not isinstance(place, Path) or place.suffix != ".npy"), None)
        if self.memory_map is True and other is not None:
            raise InputError(f"data.memory_map=True: must be auto or False, because {other} is not an .npy file")
        if self.memory_map != "auto" or other is not None or self.device != "cpu" or self.binarisation == "dynamic":
            return self.memory_map is True
        needed, available = sum(map(_bytes_in_memory, places)), available_memory()
        if available is None or needed <= available / 2:
            return False
        if rank() == 0:
            log.info(
                "%s: memory-mapped, because the images take up to %.3g GB of the %.3g GB of memory that are available",
                *(self.path, needed / 1e9, available / 1e9),
            )
        return True

    @cached_property
    def _places(self) -> dict[str, list[Path | zipfile.Path]]:
        """The paths of ``images`` and ``labels``: those for training and then those for testing, or one."""
        if self.path.suffix == ".npy" and self.path.is_file():
            return {"images": [self.path], "labels": []}
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
        wanted: tuple[str, ...] = PAIR if found and found.keys() <= set(PAIR) else SETS
        if found and not any(name.endswith("labels") for name in found):
            wanted = wanted[::2]
        missing = [name for name in wanted if name not in found]
        if missing:
            raise InputError(
                f"data.path={self.path}: {', '.join(missing)} missing there; must be a folder or .npz file with "
                f"{', '.join(SETS)}, or with {' and '.join(PAIR)}, or a folder with "
                f"{', '.join(FILES)}, or an .npy file of images; the labels may be missing"
            )
        return {kind: [found[name] for name in wanted if name.endswith(kind)] for kind in PAIR}


def _bytes_in_memory(place: Path | zipfile.Path) -> int:
    shape, dtype = header(place)
    return prod(shape) * (1 if dtype == np.uint8 else 4)
