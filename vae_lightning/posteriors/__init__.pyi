from .beta import Beta, BetaDistribution
from .concrete_bernoulli import BernoulliDistribution, ConcreteBernoulli, RelaxedBernoulliDistribution
from .concrete_categorical import CategoricalDistribution, ConcreteCategorical, RelaxedCategoricalDistribution
from .dirichlet import Dirichlet, DirichletDistribution
from .distribution import Distribution
from .gamma import Gamma, GammaDistribution
from .gaussian import Gaussian, GaussianDistribution, StandardNormal, gaussian_kl
from .gaussian_full import GaussianFull, GaussianFullDistribution, GaussianLowRankDistribution
from .laplace import Laplace, LaplaceDistribution
from .logistic import Logistic, LogisticDistribution
from .mixture import MixtureDistribution, MixtureOfGaussians
from .posterior import Posterior
from .student_t import StudentT, StudentTDistribution

__all__ = [
    "BernoulliDistribution",
    "Beta",
    "BetaDistribution",
    "CategoricalDistribution",
    "ConcreteBernoulli",
    "ConcreteCategorical",
    "Dirichlet",
    "DirichletDistribution",
    "Distribution",
    "Gamma",
    "GammaDistribution",
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
    "StudentT",
    "StudentTDistribution",
    "gaussian_kl",
]
