from .arm import ARM
from .disarm import DisARM
from .enumeration import Enumeration
from .estimator import Estimator
from .gumbel_softmax import GumbelSoftmax
from .leave_one_out import LeaveOneOut
from .measure_valued import MeasureValued
from .muprop import MuProp
from .no_gradient import NoGradient
from .nvil import NVIL
from .rebar import Rebar
from .relax import Relax
from .reparameterization import Reparameterization
from .score_function import ScoreFunction
from .sticking_the_landing import StickingTheLanding
from .straight_through import StraightThrough
from .vimco import VIMCO

__all__ = [
    "ARM",
    "NVIL",
    "VIMCO",
    "DisARM",
    "Enumeration",
    "Estimator",
    "GumbelSoftmax",
    "LeaveOneOut",
    "MeasureValued",
    "MuProp",
    "NoGradient",
    "Rebar",
    "Relax",
    "Reparameterization",
    "ScoreFunction",
    "StickingTheLanding",
    "StraightThrough",
]
