from .flow import Flow
from .learned import Learned
from .mixture import Mixture
from .prior import Prior
from .standard import Standard, StandardNormal
from .two_layers import TwoLayers
from .vamp import Vamp

__all__ = [
    "Flow",
    "Learned",
    "Mixture",
    "Prior",
    "Standard",
    "StandardNormal",
    "TwoLayers",
    "Vamp",
]
