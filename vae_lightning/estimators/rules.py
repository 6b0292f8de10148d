"""Rules for the arguments of gradient estimators."""

from vae_lightning.config.rules import Rule, boolean, either, integer, number, one_of

__all__ = ["POSTERIORS", "REPARAMETERIZED", "RULES"]

_POSITIVE = {"temperature": number(above=0), "lr": number(above=0)}
_REBAR: dict[str, Rule] = {**_POSITIVE, "scale": number()}

RULES: dict[str, dict[str, Rule]] = {
    "ARM": {},
    "DisARM": {},
    "Enumeration": {},
    "GumbelSoftmax": {"temperature": number(above=0), "hard": boolean},
    "LeaveOneOut": {"samples": integer(at_least=2)},
    "MeasureValued": {},
    "MuProp": {},
    "NVIL": {"hidden": integer(at_least=1), "lr": number(above=0)},
    "NoGradient": {},
    "Rebar": _REBAR,
    "Relax": {**_REBAR, "hidden": integer(at_least=1)},
    "Reparameterization": {},
    "ScoreFunction": {"baseline": either(boolean, one_of("none", "batch_mean", "moving_average"))},
    "StickingTheLanding": {},
    "StraightThrough": {},
    "VIMCO": {},
}

# Estimator.posteriors of the classes above, for checks before torch is imported; all others take any family.
POSTERIORS: dict[str, tuple[str, ...]] = {
    "ARM": ("Bernoulli",),
    "DisARM": ("Bernoulli",),
    "Enumeration": ("Bernoulli", "Categorical"),
    "GumbelSoftmax": ("Bernoulli", "Categorical"),
    "MeasureValued": ("Bernoulli", "Categorical", "Gaussian"),
    "MuProp": ("Bernoulli", "Categorical"),
    "Rebar": ("Bernoulli", "Categorical"),
    "Relax": ("Bernoulli", "Categorical"),
    "StraightThrough": ("Bernoulli", "Categorical"),
}

# Those whose gradient is that of the samples, which must have one.
REPARAMETERIZED = ("Reparameterization", "StickingTheLanding")
