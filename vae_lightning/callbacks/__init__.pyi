from .curves import Curves
from .decoder_bias import DecoderBias
from .early_stopping import EarlyStopping
from .figures import Figures
from .gradient_statistics import GradientStatistics
from .interruption import Interrupted, Interruption
from .linear_probe import LinearProbe
from .objective_report import ObjectiveReport
from .progress import Progress
from .throughput import Throughput

__all__ = [
    "Curves",
    "DecoderBias",
    "EarlyStopping",
    "Figures",
    "GradientStatistics",
    "Interrupted",
    "Interruption",
    "LinearProbe",
    "ObjectiveReport",
    "Progress",
    "Throughput",
]
