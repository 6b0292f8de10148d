from .prior import Prior
from .standard import StandardNormal

__all__ = [
    "Prior",
    "StandardNormal",
]
