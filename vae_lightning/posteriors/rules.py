"""Rules for the arguments of posteriors; the model adds latent_dim."""

from vae_lightning.config.rules import Rule, boolean, integer, number, one_of, optional, several, target

_CONCRETE: dict[str, Rule] = {
    "temperature": number(above=0),
    "schedule": optional(target),
    "straight_through": boolean,
    "kl": one_of("discrete", "relaxed"),
    "relaxed_evaluation": boolean,
}
_LAYERS = {"layers": integer(at_least=1)}
_NETWORKS = {**_LAYERS, "hidden": integer(at_least=1)}

RULES: dict[str, dict[str, Rule]] = {
    "Bernoulli": {},
    "Beta": {},
    "Categorical": {"categories": integer(at_least=2)},
    "Concrete": _CONCRETE,
    "ConcreteBernoulli": _CONCRETE,
    "ConcreteCategorical": {"categories": integer(at_least=2), **_CONCRETE},
    "Dirichlet": {},
    "Gamma": {},
    "Gaussian": {},
    "GaussianFull": {"rank": optional(integer(at_least=1))},
    "IAF": _NETWORKS,
    "Laplace": {},
    "Logistic": {},
    "MixtureOfGaussians": {"components": integer(at_least=1)},
    "Planar": _LAYERS,
    "PowerSpherical": {},
    "Spline": {**_NETWORKS, "bins": integer(at_least=2)},
    "StudentT": {},
    "Sylvester": {**_LAYERS, "rank": integer(at_least=1)},
    "TwoLayers": {"layer": target, "widths": several(integer(at_least=1), at_least=0)},
    "VonMisesFisher": {},
}

# Posterior.support of the families above, for checks before torch is imported.
SUPPORTS: dict[str, str] = {
    "Bernoulli": "binary vectors",
    "Beta": "numbers between 0 and 1",
    "Categorical": "one-hot vectors",
    "ConcreteBernoulli": "binary vectors",
    "ConcreteCategorical": "one-hot vectors",
    "Dirichlet": "the simplex",
    "Gamma": "positive numbers",
    "Gaussian": "real numbers",
    "GaussianFull": "real numbers",
    "IAF": "real numbers",
    "Laplace": "real numbers",
    "Logistic": "real numbers",
    "MixtureOfGaussians": "real numbers",
    "Planar": "real numbers",
    "PowerSpherical": "the unit sphere",
    "Spline": "real numbers",
    "StudentT": "real numbers",
    "Sylvester": "real numbers",
    "VonMisesFisher": "the unit sphere",
}

# Families with Posterior.differentiable = False.
WITHOUT_DERIVATIVE = ("Bernoulli", "Categorical")

# Families with Posterior.factorised = True.
FACTORISED = (
    "Bernoulli",
    "Beta",
    "Categorical",
    "ConcreteBernoulli",
    "ConcreteCategorical",
    "Gamma",
    "Gaussian",
    "Laplace",
    "Logistic",
    "StudentT",
)


def other_layer(family: str) -> str:
    """Return the error message for a family that cannot be that of two layers."""
    return f"posterior={family}: must be bernoulli or categorical with two layers, whose latents are discrete"
