from .emnist import EMNISTDataModule
from .fashion_mnist import FashionMNISTDataModule
from .files import FilesDataModule
from .image_data_module import ImageDataModule, ImageOptions
from .images import ByteImages, LabelledImages
from .kmnist import KMNISTDataModule
from .mnist import MNISTDataModule
from .mnist_5k import MNIST5kDataModule
from .published import PublishedDataModule
from .stack_data import StackData

__all__ = [
    "ByteImages",
    "EMNISTDataModule",
    "FashionMNISTDataModule",
    "FilesDataModule",
    "ImageDataModule",
    "ImageOptions",
    "KMNISTDataModule",
    "LabelledImages",
    "MNIST5kDataModule",
    "MNISTDataModule",
    "PublishedDataModule",
    "StackData",
]
