from .gaussian import Gaussian
from .kl import gaussian_kl, kl
from .posterior import Posterior

__all__ = [
    "Gaussian",
    "Posterior",
    "gaussian_kl",
    "kl",
]
