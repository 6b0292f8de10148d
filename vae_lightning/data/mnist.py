"""MNIST."""

from pathlib import Path

from vae_lightning.data.published import MD5, PublishedDataModule, check_md5

__all__ = ["MNISTDataModule"]


class MNISTDataModule(PublishedDataModule):
    """MNIST: 60,000 handwritten digits for training and validation, 10,000 for testing.

    The MD5s of the files' contents are verified. Arguments and errors are those of :class:`PublishedDataModule`.

    References:
        Gradient-Based Learning Applied to Document Recognition, LeCun et al., 1998.
    """

    published_as = "MNIST"

    def _verify(self, name: str, path: Path, content: bytes) -> None:
        check_md5(content, MD5[name])
