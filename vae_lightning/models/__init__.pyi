from .stack import Stack
from .vae import VAE

__all__ = [
    "VAE",
    "Stack",
]
