from .curves import Curves
from .figures import Figures
from .gradient_statistics import GradientStatistics
from .interruption import Interrupted, Interruption
from .linear_probe import LinearProbe
from .progress import Progress
from .throughput import Throughput

__all__ = [
    "Curves",
    "Figures",
    "GradientStatistics",
    "Interrupted",
    "Interruption",
    "LinearProbe",
    "Progress",
    "Throughput",
]
