from .constant import Constant
from .cosine import Cosine
from .cyclical import Cyclical
from .schedule import Schedule
from .staircase import Staircase
from .warm_up import WarmUp

__all__ = [
    "Constant",
    "Cosine",
    "Cyclical",
    "Schedule",
    "Staircase",
    "WarmUp",
]
