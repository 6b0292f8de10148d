from .emnist import EMNISTDataModule
from .fashion_mnist import FashionMNISTDataModule
from .files import FilesDataModule
from .image_data_module import BatchOptions, ImageDataModule, ImageOptions
from .image_folder import ImageFolderDataModule
from .images import ImageSet, LabelledImages
from .kmnist import KMNISTDataModule
from .mnist import MNISTDataModule
from .mnist_5k import MNIST5kDataModule
from .published import PublishedDataModule
from .stack_data import StackData

__all__ = [
    "BatchOptions",
    "EMNISTDataModule",
    "FashionMNISTDataModule",
    "FilesDataModule",
    "ImageDataModule",
    "ImageFolderDataModule",
    "ImageOptions",
    "ImageSet",
    "KMNISTDataModule",
    "LabelledImages",
    "MNIST5kDataModule",
    "MNISTDataModule",
    "PublishedDataModule",
    "StackData",
]
