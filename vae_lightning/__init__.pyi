from .callbacks.linear_probe import LinearProbe
from .config.errors import InputError
from .data.emnist import EMNISTDataModule
from .data.fashion_mnist import FashionMNISTDataModule
from .data.files import FilesDataModule
from .data.image_data_module import ImageDataModule
from .data.image_folder import ImageFolderDataModule
from .data.images import LabelledImages
from .data.kmnist import KMNISTDataModule
from .data.mnist import MNISTDataModule
from .data.mnist_5k import MNIST5kDataModule
from .data.stack_data import StackData
from .evaluation.probe import linear_probe
from .models.stack import Stack
from .models.vae import VAE
from .runs.loading import load_run

__all__ = [
    "VAE",
    "EMNISTDataModule",
    "FashionMNISTDataModule",
    "FilesDataModule",
    "ImageDataModule",
    "ImageFolderDataModule",
    "InputError",
    "KMNISTDataModule",
    "LabelledImages",
    "LinearProbe",
    "MNIST5kDataModule",
    "MNISTDataModule",
    "Stack",
    "StackData",
    "linear_probe",
    "load_run",
]
