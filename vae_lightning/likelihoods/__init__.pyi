from .bernoulli import Bernoulli
from .continuous_bernoulli import ContinuousBernoulli
from .gaussian import Gaussian
from .likelihood import Likelihood

__all__ = [
    "Bernoulli",
    "ContinuousBernoulli",
    "Gaussian",
    "Likelihood",
]
