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
from vae_lightning.posteriors import rules as posteriors
from vae_lightning.priors import rules as priors

__all__ = ["OPTIMIZER", "RULES", "check_support", "other_support"]

RULES: dict[str, dict[str, Rule]] = {
    "VAE": {
        "latent_dim": integer(at_least=1),
        "widths": several(integer(at_least=1)),
        "decoder_widths": optional(several(integer(at_least=1))),
        "activation": one_of("relu", "leaky_relu", "elu", "silu", "gelu", "tanh"),
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


def check_support(model: Mapping[str, Any]) -> None:
    """Refuse a prior of other latents than the posterior's, as far as both are ours; the model checks all others.

    Raises:
        IncompatibleError: naming both.
    """
    nodes = [model.get(group) for group in ("posterior", "prior")]
    if not all(isinstance(node, Mapping) for node in nodes):
        return
    posterior, prior = (current_name(str(node["_target_"])).rpartition(".") for node in nodes if node)
    if posterior[0] != "vae_lightning.posteriors" or prior[0] != "vae_lightning.priors":
        return
    latents, support = posteriors.SUPPORTS.get(posterior[2]), priors.SUPPORTS.get(prior[2])
    if None not in (latents, support) and latents != support:
        raise IncompatibleError(other_support(posterior[2], str(latents), prior[2], str(support)))


def other_support(posterior: str, latents: str, prior: str, support: str) -> str:
    """Return the error message for a prior with another support than the posterior."""
    return (
        f"prior={prior}: must be another, because it is a distribution of {support}, and the latents of "
        f"posterior={posterior} are {latents}"
    )
