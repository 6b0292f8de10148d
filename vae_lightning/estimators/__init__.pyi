from .estimator import Estimator
from .no_gradient import NoGradient
from .reparameterization import Reparameterization
from .score_function import ScoreFunction

__all__ = [
    "Estimator",
    "NoGradient",
    "Reparameterization",
    "ScoreFunction",
]
