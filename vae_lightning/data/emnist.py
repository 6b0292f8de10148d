"""EMNIST."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Unpack

from vae_lightning.config.arguments import checked
from vae_lightning.data.download import Download
from vae_lightning.data.image_data_module import ImageOptions
from vae_lightning.data.images import LabelledImages
from vae_lightning.data.published import PublishedDataModule
from vae_lightning.data.rules import EMNIST_CLASSES, EMNIST_IMAGES

__all__ = ["EMNISTDataModule"]


class EMNISTDataModule(PublishedDataModule):
    """EMNIST: handwritten letters and digits, in six splits.

    Images are turned upright. Labels are as published: they start at 0, or at 1 for ``letters``. The four files of a
    split are named ``emnist-balanced-train-images-idx3-ubyte`` and so on. A mirror has the files of all splits in one
    ``gzip.zip``, of which only those of the split are kept. The MD5 of the archive is verified; of files that are
    already present only the shape can be verified.

    Arguments:
        split: ``balanced`` (47 classes, 112,800 images for training and validation), ``byclass`` (62; 697,932),
            ``bymerge`` (47; 697,932), ``letters`` (26; 124,800), ``digits`` (10; 240,000) or ``mnist`` (10; 60,000).

    The other arguments and errors are those of :class:`PublishedDataModule`.

    References:
        EMNIST: an extension of MNIST to handwritten letters, Cohen et al., 2017 (https://arxiv.org/abs/1702.05373).
    """

    published_as = "EMNIST"

    @checked
    def __init__(
        self, root: str = "data", mirror: str | None = None, split: str = "balanced", **options: Unpack[ImageOptions]
    ) -> None:
        super().__init__(root, mirror, **options)
        self.split = split

    @property
    def files(self) -> Mapping[str, tuple[int, ...]]:
        return {
            f"emnist-{self.split}-{part}-{file}": (count, *shape)
            for part, count in zip(("train", "test"), EMNIST_IMAGES[self.split], strict=True)
            for file, shape in (("images-idx3-ubyte", (28, 28)), ("labels-idx1-ubyte", ()))
        }

    @property
    def classes(self) -> int:
        return EMNIST_CLASSES[self.split]

    def read(self) -> tuple[LabelledImages, LabelledImages]:
        train, test = super().read()
        # The files store the images column by column.
        return train._replace(images=train.images.mT.contiguous()), test._replace(images=test.images.mT.contiguous())

    def _published(self, names: Sequence[str]) -> tuple[Sequence[str], list[Download]]:
        from torchvision.datasets import EMNIST as TORCHVISION

        mirror, slash, archive = TORCHVISION.url.rpartition("/")
        return [mirror + slash], [Download(archive, TORCHVISION.md5, [f"gzip/{name}.gz" for name in names])]

    def _verify(self, name: str, path: Path, content: bytes) -> None:
        """Verify nothing further: the MD5s of the individual files are not known."""
