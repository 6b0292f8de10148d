"""Custom images, read from a folder of PNG and JPEG files."""

import logging
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Unpack

import numpy as np
import PIL
import torch
from numpy.typing import NDArray

from vae_lightning.config.arguments import checked
from vae_lightning.config.errors import InputError
from vae_lightning.data.decoded_cache import cached, fingerprint
from vae_lightning.data.image_data_module import BatchOptions, ImageDataModule
from vae_lightning.data.image_decoding import decode_images
from vae_lightning.data.image_tree import ImageTree, find_images
from vae_lightning.data.images import LabelledImages
from vae_lightning.data.split import positions_apart
from vae_lightning.distributed import rank
from vae_lightning.streams import generator
from vae_lightning.user_cache import user_cache

__all__ = ["ImageFolderDataModule"]

log = logging.getLogger(__name__)

# The most images that are set apart without being asked for.
MOST = 1000


class ImageFolderDataModule(ImageDataModule):
    """A folder of PNG and JPEG files, decoded once into memory as bytes.

    The images lie in the folder itself, without labels, or in a folder per class, named after it: the classes 0, 1, ...
    are the sorted names. Either may lie in folders named ``train``, ``val`` and ``test``. Images are upright as their
    EXIF orientation asks. Hidden files and those of other types are skipped, and counted in the log.

    Arguments:
        path: the folder.
        size: height and width to which images are resized (bicubic), after they are cropped about the centre to the
            same ratio; one number for square images. None if all have one size.
        mode: ``"grey"``, ``"rgb"``, or ``"auto"``: grey if all images are.
        cache: keep the decoded images for later runs in a folder, or, if True, in ``vae-lightning/images`` of the
            user's cache (``$XDG_CACHE_HOME``, or ``~/.cache``). They are decoded again when the path, the size or the
            time of a file changes, or an argument.
        test_size: number of test images to set apart from the training images, stratified by label, always the same
            ones. ``"auto"``: those in the folder ``test``, or else a tenth, at most 1000.
        val_size: number of validation images to set apart from the training images. ``"auto"``: those in the folder
            ``val``, or else a tenth, at most 1000.

    The other arguments are those of :class:`vae_lightning.data.ImageDataModule`.

    Attributes:
        class_names: the names of the classes; None without classes.

    Raises:
        InputError: if an argument breaks its rule (:mod:`vae_lightning.data.rules`); in :attr:`image_shape`,
            :attr:`classes` and :meth:`setup`, if the images cannot be decoded, differ in size without ``size``, or
            cannot be split as asked.
    """

    @checked
    def __init__(
        self,
        path: str,
        size: int | Sequence[int] | None = None,
        mode: str = "auto",
        cache: bool | str = True,
        test_size: int | str = "auto",
        val_size: int | str = "auto",
        **options: Unpack[BatchOptions],
    ) -> None:
        super().__init__(**options)
        self.path, self.mode, self.cache = Path(path).expanduser(), mode, cache
        self.size = None if size is None else (size, size) if isinstance(size, int) else (size[0], size[1])
        self.held_out = {"test": test_size, "val": val_size}
        self._files: dict[str, list[Path]] = {}

    @cached_property
    def image_shape(self) -> tuple[int, ...]:
        """``(C, H, W)``; the images are decoded to find it."""
        return self._decoded.shape[1:]

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """The names of the classes 0, 1, ...; None without classes."""
        return self._tree.class_names

    @property
    def classes(self) -> int | None:
        """The number of classes; None without classes."""
        return len(self.class_names) if self.class_names else None

    def read(self) -> tuple[LabelledImages, LabelledImages] | tuple[LabelledImages, LabelledImages, LabelledImages]:
        images, parts = torch.from_numpy(self._decoded), {}
        del self._decoded  # not kept beside the splits
        self._files = dict(self._tree.files)
        for split, own in zip(self._tree.files, images.split([*map(len, self._tree.files.values())]), strict=True):
            labels = self._tree.labels[split]
            parts[split] = LabelledImages(own, torch.tensor(labels)) if labels else LabelledImages.unlabelled(own)
        if "test" not in parts:
            both = parts["train"]
            of_test, of_train = positions_apart(both, self._counts["test"], generator(0, "test"))
            parts |= {"train": both.subset(of_train), "test": both.subset(of_test)}
            files = self._files["train"]
            self._files |= {
                split: [files[place] for place in places.tolist()]
                for split, places in (("train", of_train), ("test", of_test))
            }
        self.val_size = self._counts.get("val", 0)
        return (parts["train"], parts["val"], parts["test"]) if "val" in parts else (parts["train"], parts["test"])

    def names(self, split: str) -> list[str]:
        """Return the paths of a split's files, relative to the folder, after :meth:`setup`."""
        files = self._files[split if split in self._files else "train"]
        return [files[place].relative_to(self.path).as_posix() for place in self.positions[split].tolist()]

    @cached_property
    def _counts(self) -> dict[str, int]:
        """The numbers of images to set apart for test and validation, of the splits without a folder."""
        counts, available = {}, len(self._tree.files["train"])
        asked = {split: count for split, count in self.held_out.items() if split not in self._tree.files}
        for split, count in self.held_out.items():
            if split not in asked and count != "auto":
                raise InputError(
                    f"data.{split}_size={count}: must be auto, because {self.path} has a folder of such images"
                )
        if available <= len(asked):
            raise InputError(
                f"data.path={self.path}: holds {available} images for {' and '.join(['training', *asked])}; must hold "
                f"at least {1 + len(asked)}"
            )
        for split, count in asked.items():
            counts[split] = max(1, min(MOST, available // 10)) if count == "auto" else int(count)
            if counts[split] >= available:
                raise InputError(
                    f"data.{split}_size={count}: must be auto or a whole number of at most {available - 1}, because "
                    f"{self.path} has {available} images for training and {split}"
                )
            available -= counts[split]
        return counts

    @cached_property
    def _tree(self) -> ImageTree:
        return find_images(self.path)

    @cached_property
    def _decoded(self) -> NDArray[np.uint8]:
        """All images, ``(N, C, H, W)``, split after split."""
        tree, counts = self._tree, self._counts  # refused before anything is decoded
        files = [file for part in tree.files.values() for file in part]
        if self.cache is False:
            images = decode_images(files, self.size, self.mode)
        else:
            folder = user_cache() / "images" if self.cache is True else Path(self.cache).expanduser()
            key = fingerprint(files, self.size, self.mode, PIL.__version__)
            images = cached(folder, key, lambda: decode_images(files, self.size, self.mode))
        if rank() == 0:
            parts = {split: len(part) for split, part in tree.files.items()} | counts
            parts["train"] -= sum(counts.values())
            log.info(
                "%s: %s%s%s",
                self.path,
                ", ".join(f"{parts[split]:,} images for {split}" for split in ("train", "val", "test")),
                f", {self.classes} classes" if self.classes else ", no classes",
                "".join(f"; files skipped ({reason}): {count:,}" for reason, count in tree.skipped.items()),
            )
        return images
