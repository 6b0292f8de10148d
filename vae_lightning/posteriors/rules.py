"""Rules for the arguments of posteriors; the model adds latent_dim."""

from vae_lightning.config.rules import Rule, boolean, integer, number, one_of, optional, target

_CONCRETE: dict[str, Rule] = {
    "temperature": number(above=0),
    "schedule": optional(target),
    "straight_through": boolean,
    "kl": one_of("discrete", "relaxed"),
    "relaxed_evaluation": boolean,
}

RULES: dict[str, dict[str, Rule]] = {
    "Beta": {},
    "Concrete": _CONCRETE,
    "ConcreteBernoulli": _CONCRETE,
    "ConcreteCategorical": {"categories": integer(at_least=2), **_CONCRETE},
    "Dirichlet": {},
    "Gamma": {},
    "Gaussian": {},
    "GaussianFull": {"rank": optional(integer(at_least=1))},
    "Laplace": {},
    "Logistic": {},
    "MixtureOfGaussians": {"components": integer(at_least=1)},
    "StudentT": {},
}

# Posterior.support of the families above, for checks before torch is imported.
SUPPORTS: dict[str, str] = {
    "Beta": "numbers between 0 and 1",
    "ConcreteBernoulli": "binary vectors",
    "ConcreteCategorical": "one-hot vectors",
    "Dirichlet": "the simplex",
    "Gamma": "positive numbers",
    "Gaussian": "real numbers",
    "GaussianFull": "real numbers",
    "Laplace": "real numbers",
    "Logistic": "real numbers",
    "MixtureOfGaussians": "real numbers",
    "StudentT": "real numbers",
}
