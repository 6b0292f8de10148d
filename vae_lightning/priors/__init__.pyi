from .mixture import Mixture
from .prior import Prior
from .standard import Standard
from .vamp import Vamp

__all__ = ["Mixture", "Prior", "Standard", "Vamp"]
