from .beta import BetaELBO
from .draws import ELBO, Draws
from .elbo import NegativeELBO
from .free_bits import FreeBits
from .iwae import IWAE
from .objective import Objective, Terms

__all__ = [
    "ELBO",
    "IWAE",
    "BetaELBO",
    "Draws",
    "FreeBits",
    "NegativeELBO",
    "Objective",
    "Terms",
]
