from .flow import Flow
from .mixture import Mixture
from .prior import Prior
from .standard import Standard, StandardNormal
from .vamp import Vamp

__all__ = [
    "Flow",
    "Mixture",
    "Prior",
    "Standard",
    "StandardNormal",
    "Vamp",
]
