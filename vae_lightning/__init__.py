"""Variational autoencoders on MNIST-sized data, with PyTorch Lightning and Hydra."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vae_lightning.checks import InputError
    from vae_lightning.data import ImageDataModule, LabelledImages
    from vae_lightning.files import FilesDataModule
    from vae_lightning.mnist import (
        EMNISTDataModule,
        FashionMNISTDataModule,
        KMNISTDataModule,
        MNIST5kDataModule,
        MNISTDataModule,
    )
    from vae_lightning.probe import LinearProbe, linear_probe
    from vae_lightning.stack import Stack, StackData
    from vae_lightning.vae import VAE

__all__ = [
    "VAE",
    "EMNISTDataModule",
    "FashionMNISTDataModule",
    "FilesDataModule",
    "ImageDataModule",
    "InputError",
    "KMNISTDataModule",
    "LabelledImages",
    "LinearProbe",
    "MNIST5kDataModule",
    "MNISTDataModule",
    "Stack",
    "StackData",
    "linear_probe",
]

# Imported when first asked for: the commands answer --help and bad input before torch is loaded.
_HOMES = {
    "VAE": "vae",
    "EMNISTDataModule": "mnist",
    "FashionMNISTDataModule": "mnist",
    "FilesDataModule": "files",
    "ImageDataModule": "data",
    "InputError": "checks",
    "KMNISTDataModule": "mnist",
    "LabelledImages": "data",
    "LinearProbe": "probe",
    "MNIST5kDataModule": "mnist",
    "MNISTDataModule": "mnist",
    "Stack": "stack",
    "StackData": "stack",
    "linear_probe": "probe",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
