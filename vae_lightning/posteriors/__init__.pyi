from .distribution import Distribution
from .gaussian import Gaussian, GaussianDistribution, StandardNormal, gaussian_kl
from .laplace import Laplace, LaplaceDistribution
from .posterior import Posterior

__all__ = [
    "Distribution",
    "Gaussian",
    "GaussianDistribution",
    "Laplace",
    "LaplaceDistribution",
    "Posterior",
    "StandardNormal",
    "gaussian_kl",
]
