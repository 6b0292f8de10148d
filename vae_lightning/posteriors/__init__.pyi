from .concrete_bernoulli import BernoulliDistribution, ConcreteBernoulli, RelaxedBernoulliDistribution
from .concrete_categorical import CategoricalDistribution, ConcreteCategorical, RelaxedCategoricalDistribution
from .distribution import Distribution
from .gaussian import Gaussian, GaussianDistribution, StandardNormal, gaussian_kl
from .gaussian_full import GaussianFull, GaussianFullDistribution, GaussianLowRankDistribution
from .laplace import Laplace, LaplaceDistribution
from .logistic import Logistic, LogisticDistribution
from .mixture import MixtureDistribution, MixtureOfGaussians
from .posterior import Posterior

__all__ = [
    "BernoulliDistribution",
    "CategoricalDistribution",
    "ConcreteBernoulli",
    "ConcreteCategorical",
    "Distribution",
    "Gaussian",
    "GaussianDistribution",
    "GaussianFull",
    "GaussianFullDistribution",
    "GaussianLowRankDistribution",
    "Laplace",
    "LaplaceDistribution",
    "Logistic",
    "LogisticDistribution",
    "MixtureDistribution",
    "MixtureOfGaussians",
    "Posterior",
    "RelaxedBernoulliDistribution",
    "RelaxedCategoricalDistribution",
    "StandardNormal",
    "gaussian_kl",
]
