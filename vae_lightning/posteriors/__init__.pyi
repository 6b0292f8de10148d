from .bernoulli import Bernoulli, BernoulliDistribution
from .beta import Beta, BetaDistribution
from .categorical import Categorical, CategoricalDistribution
from .concrete import Concrete
from .concrete_bernoulli import ConcreteBernoulli, RelaxedBernoulliDistribution
from .concrete_categorical import ConcreteCategorical, RelaxedCategoricalDistribution
from .dirichlet import Dirichlet, DirichletDistribution
from .discrete import DiscreteDistribution, DiscreteLatents, Layer
from .distribution import Distribution
from .gamma import Gamma, GammaDistribution
from .gaussian import Gaussian, GaussianDistribution, StandardNormal, gaussian_kl
from .gaussian_full import GaussianFull, GaussianFullDistribution, GaussianLowRankDistribution
from .iaf import IAF, IAFDistribution
from .laplace import Laplace, LaplaceDistribution
from .logistic import Logistic, LogisticDistribution
from .mixture import MixtureDistribution, MixtureOfGaussians
from .planar import Planar, PlanarDistribution
from .posterior import Posterior
from .power_spherical import PowerSpherical, PowerSphericalDistribution
from .spline import Spline, SplineDistribution
from .student_t import StudentT, StudentTDistribution
from .sylvester import Sylvester, SylvesterDistribution
from .tangent_normal import UniformOnSphere
from .two_layers import TwoLayers, TwoLayersDistribution
from .von_mises_fisher import VonMisesFisher, VonMisesFisherDistribution

__all__ = [
    "IAF",
    "Bernoulli",
    "BernoulliDistribution",
    "Beta",
    "BetaDistribution",
    "Categorical",
    "CategoricalDistribution",
    "Concrete",
    "ConcreteBernoulli",
    "ConcreteCategorical",
    "Dirichlet",
    "DirichletDistribution",
    "DiscreteDistribution",
    "DiscreteLatents",
    "Distribution",
    "Gamma",
    "GammaDistribution",
    "Gaussian",
    "GaussianDistribution",
    "GaussianFull",
    "GaussianFullDistribution",
    "GaussianLowRankDistribution",
    "IAFDistribution",
    "Laplace",
    "LaplaceDistribution",
    "Layer",
    "Logistic",
    "LogisticDistribution",
    "MixtureDistribution",
    "MixtureOfGaussians",
    "Planar",
    "PlanarDistribution",
    "Posterior",
    "PowerSpherical",
    "PowerSphericalDistribution",
    "RelaxedBernoulliDistribution",
    "RelaxedCategoricalDistribution",
    "Spline",
    "SplineDistribution",
    "StandardNormal",
    "StudentT",
    "StudentTDistribution",
    "Sylvester",
    "SylvesterDistribution",
    "TwoLayers",
    "TwoLayersDistribution",
    "UniformOnSphere",
    "VonMisesFisher",
    "VonMisesFisherDistribution",
    "gaussian_kl",
]
