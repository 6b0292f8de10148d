"""Kuzushiji-MNIST."""

from vae_lightning.data.published import PublishedDataModule

__all__ = ["KMNISTDataModule"]


class KMNISTDataModule(PublishedDataModule):
    """Kuzushiji-MNIST: cursive Japanese characters in ten classes.

    60,000 images are for training and validation, 10,000 for testing. The MD5s of gzipped files are verified; of
    unpacked files only the shape can be verified. Arguments and errors are those of :class:`PublishedDataModule`.

    References:
        Deep Learning for Classical Japanese Literature, Clanuwat et al., 2018 (https://arxiv.org/abs/1812.01718).
    """

    published_as = "KMNIST"
