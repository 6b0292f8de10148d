"""Fashion-MNIST."""

from vae_lightning.data.published import PublishedDataModule

__all__ = ["FashionMNISTDataModule"]


class FashionMNISTDataModule(PublishedDataModule):
    """Fashion-MNIST: 60,000 pictures of clothes in ten classes for training and validation, 10,000 for testing.

    The MD5s of gzipped files are verified; of unpacked files only the shape can be verified. Arguments and errors are
    those of :class:`PublishedDataModule`.

    References:
        Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms, Xiao et al., 2017
        (https://arxiv.org/abs/1708.07747).
    """

    published_as = "FashionMNIST"
