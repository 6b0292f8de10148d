"""Rules for the arguments of gradient estimators."""

from collections.abc import Sequence

from vae_lightning.config.rules import Rule, boolean, either, integer, number, one_of

__all__ = [
    "LIMIT",
    "POSTERIORS",
    "REPARAMETERIZED",
    "RULES",
    "SINGLE",
    "needs_bound",
    "no_derivative",
    "other_posteriors",
    "several_latents",
    "through_latents",
    "too_many_values",
]

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

# Those with Estimator.reparameterized = True, which need samples that have a derivative.
REPARAMETERIZED = ("Reparameterization", "StickingTheLanding")

# Those with Estimator.single = True.
SINGLE = ("Enumeration", "GumbelSoftmax", "MeasureValued", "StickingTheLanding", "StraightThrough")

# The largest number of values of an image's latents that can be enumerated.
LIMIT = 4096


# Error messages for choices that do not go together, by the names of their classes.


def no_derivative(estimator: str, posterior: str) -> str:
    """Return that for an estimator that goes through latents without a derivative."""
    return (
        f"estimator={estimator}: must be another, such as estimator=leave_one_out, because the samples of "
        f"posterior={posterior} have no derivative"
    )


def other_posteriors(estimator: str, posterior: str, allowed: Sequence[str]) -> str:
    """Return that for an estimator that does not know the posterior."""
    choices = " or ".join(f"posterior={name.lower()}" for name in allowed)
    return f"estimator={estimator}: must be another with posterior={posterior}, because it needs {choices}"


def through_latents(estimator: str, objective: str) -> str:
    """Return that for an estimator without a gradient through the latents, and an objective that has its own."""
    return (
        f"estimator={estimator}: must be another, because the gradient of objective={objective} goes through the "
        "latents, unless objective.doubly_reparameterized=false"
    )


def several_latents(estimator: str, objective: str, samples: int) -> str:
    """Return that for an estimator of one latent, and an objective of several."""
    return (
        f"estimator={estimator}: must be another, because objective={objective} takes {samples} latents of an image "
        "at once, unless objective.samples=1"
    )


def needs_bound(estimator: str, objective: str) -> str:
    """Return that for an estimator of the importance-weighted bound, and another objective."""
    return (
        f"estimator={estimator}: must be another with objective={objective}, because it needs objective=iwae with "
        "objective.doubly_reparameterized=false and objective.samples of 2 or more"
    )


def too_many_values(estimator: str, count: int) -> str:
    """Return that for latents of which not all values can be enumerated."""
    return (
        f"estimator={estimator}: must be another, or model.latent_dim smaller, because an image's latents have "
        f"{count:.5g} values, above {LIMIT}"
    )
