"""Variational autoencoders on MNIST-sized data, with PyTorch Lightning and Hydra."""

import lazy_loader

from vae_lightning.config import moved_names as _moved_names  # noqa: F401  # makes earlier names importable

# Names are imported on first use, so that the commands answer --help and refuse bad input before torch is loaded.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
