"""Rules for the arguments of models and of their optimisers."""

from collections.abc import Mapping
from typing import Any

from vae_lightning.config.errors import IncompatibleError
from vae_lightning.config.moved_names import current_name
from vae_lightning.config.rules import (
    Rule,
    boolean,
    either,
    integer,
    mapping,
    number,
    one_of,
    optional,
    seed,
    several,
    target,
    text,
)
from vae_lightning.estimators import rules as estimators
from vae_lightning.posteriors import rules as posteriors
from vae_lightning.priors import rules as priors

__all__ = ["OPTIMIZER", "RULES", "check_choices", "dependent_latents", "no_weights", "other_support"]

RULES: dict[str, dict[str, Rule]] = {
    "VAE": {
        "latent_dim": integer(at_least=1),
        "widths": several(integer(at_least=1), at_least=0),
        "decoder_widths": optional(several(integer(at_least=1), at_least=0)),
        "activation": either(one_of("relu", "leaky_relu", "elu", "silu", "gelu", "tanh"), target),
        "encoder": optional(target),
        "decoder": optional(target),
        "image_shape": optional(several(integer(at_least=1), count=3)),  # null: that of the data
        "classes": optional(either(integer(at_least=2, at_most=256), one_of("auto"))),  # auto: that of the data
        "posterior": target,
        "prior": target,
        "likelihood": target,
        "objective": target,
        "estimator": target,
        "optimizer": mapping,
        "prior_optimizer": optional(mapping),
        "schedule": target,
        "seed": seed,
    },
}

# Arguments of any torch.optim.Optimizer that has them.
OPTIMIZER: dict[str, Rule] = {
    # It would compute the loss several times in a step, each time with other latents.
    "_target_": Rule(
        "an optimiser that computes the loss once per step, such as torch.optim.Adam",
        lambda value: text.accepts(value) and not value.endswith(".LBFGS"),
        {**text.schema, "not": {"pattern": r"\.LBFGS$"}},
    ),
    "lr": number(above=0),
    "betas": several(number(at_least=0, below=1), count=2),
    "eps": number(above=0),
    "weight_decay": number(at_least=0),
    "momentum": number(at_least=0, below=1),
    "fused": optional(boolean),
}


def check_choices(model: Mapping[str, Any]) -> None:
    """Refuse a prior or an estimator that does not go with the other choices, as far as these are ours.

    The model checks all others.

    Raises:
        IncompatibleError: naming both.
    """
    posterior, prior, objective, estimator = (
        _name(model.get(group), group) for group in ("posterior", "prior", "objective", "estimator")
    )
    if posterior == "TwoLayers":
        _check_layers(model, prior)
        return
    if prior == "TwoLayers" and posterior:
        raise IncompatibleError(priors.single_layer(posterior))
    latents, support = posteriors.SUPPORTS.get(posterior), priors.SUPPORTS.get(prior)
    if None not in (latents, support) and latents != support:
        raise IncompatibleError(other_support(posterior, str(latents), prior, str(support)))
    if prior in priors.INDEPENDENT and latents is not None and posterior not in posteriors.FACTORISED:
        raise IncompatibleError(dependent_latents(posterior, prior))
    if model.get("prior_optimizer") is not None and prior in priors.WITHOUT_WEIGHTS:
        raise IncompatibleError(f"model.{no_weights(prior)}")
    if estimator in estimators.RULES:
        if posterior:
            _check_posterior(estimator, posterior, model)
        if objective:
            _check_objective(estimator, objective, model["objective"])


def _check_posterior(estimator: str, posterior: str, model: Mapping[str, Any]) -> None:
    if estimator in estimators.REPARAMETERIZED and posterior in posteriors.WITHOUT_DERIVATIVE:
        raise IncompatibleError(estimators.no_derivative(estimator, posterior))
    if posterior not in (allowed := estimators.POSTERIORS.get(estimator, (posterior,))):
        raise IncompatibleError(estimators.other_posteriors(estimator, posterior, allowed))
    if estimator == "Enumeration" and isinstance(model.get("latent_dim"), int):
        count = model["posterior"].get("categories", 2) ** model["latent_dim"]
        if count > estimators.LIMIT:
            raise IncompatibleError(estimators.too_many_values(estimator, count))


def _check_objective(estimator: str, objective: str, node: Mapping[str, Any]) -> None:
    samples, doubly_reparameterized = node.get("samples", 1), node.get("doubly_reparameterized", False)
    if estimator == "VIMCO":
        if objective != "IWAE" or samples < 2 or doubly_reparameterized:
            raise IncompatibleError(estimators.needs_bound(estimator, objective))
    elif doubly_reparameterized and estimator not in estimators.REPARAMETERIZED:
        raise IncompatibleError(estimators.through_latents(estimator, objective))
    elif samples > 1 and estimator in estimators.SINGLE:
        raise IncompatibleError(estimators.several_latents(estimator, objective, samples))


def _check_layers(model: Mapping[str, Any], prior: str) -> None:
    """Refuse what does not go with the family of both layers, or with the prior of the top layer."""
    if prior in priors.INDEPENDENT:
        raise IncompatibleError(dependent_latents("TwoLayers", prior))
    of_layer = {**model, "posterior": model["posterior"].get("layer"), "prior_optimizer": None}
    family = _name(of_layer["posterior"], "posterior")
    if family and family not in posteriors.WITHOUT_DERIVATIVE:
        raise IncompatibleError(posteriors.other_layer(family))
    if prior == "TwoLayers":
        of_layer["prior"] = model["prior"].get("top")
        top = _name(of_layer["prior"], "prior")
        if top and top not in priors.FACTORISED:
            raise IncompatibleError(priors.other_top(top))
    check_choices(of_layer)


def _name(node: Any, group: str) -> str:
    """Return the name of one of our classes that a node of a group builds; an empty string for any other."""
    target = current_name(str(node.get("_target_"))) if isinstance(node, Mapping) else ""
    folder, _, name = target.rpartition(".")
    return name if folder == f"vae_lightning.{group}s" else ""


def dependent_latents(posterior: str, prior: str) -> str:
    """Return the error message for a prior that needs latent variables that are independent in the posterior."""
    return f"prior={prior}: must be another, because the latent variables of posterior={posterior} depend on each other"


def no_weights(prior: str) -> str:
    """Return the error message for an optimiser of a prior without weights."""
    return f"prior_optimizer: must be null, because prior={prior} has no weights"


def other_support(posterior: str, latents: str, prior: str, support: str) -> str:
    """Return the error message for a prior with another support than the posterior."""
    return (
        f"prior={prior}: must be another, because it is a distribution of {support}, and the latents of "
        f"posterior={posterior} are {latents}"
    )
