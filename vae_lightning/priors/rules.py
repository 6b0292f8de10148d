"""Rules for the arguments of priors; the model adds latent_dim and image_shape."""

from vae_lightning.config.rules import Rule, integer, several, target

RULES: dict[str, dict[str, Rule]] = {
    "Flow": {"layers": integer(at_least=1), "hidden": integer(at_least=1)},
    "Learned": {},
    "Mixture": {"components": integer(at_least=1)},
    "Standard": {},
    "TwoLayers": {"top": target, "widths": several(integer(at_least=1), at_least=0)},
    "Vamp": {"components": integer(at_least=1)},
}

# Priors without weights, which have no optimiser of their own.
WITHOUT_WEIGHTS = ("Standard",)

# Prior.support of the priors above, for checks before torch is imported; None: that of any posterior.
SUPPORTS: dict[str, str | None] = {
    "Flow": "real numbers",
    "Learned": None,
    "Mixture": "real numbers",
    "Standard": None,
    "Vamp": None,
}

# Priors with Prior.independent = True.
INDEPENDENT = ("Learned",)

# Priors with Prior.factorised = True.
FACTORISED = ("Learned", "Standard")


def other_top(top: str) -> str:
    """Return the error message for a prior that cannot be that of the top layer."""
    return (
        f"prior={top}: must be standard or learned with two layers, because the variables of the top layer are "
        "independent of each other"
    )


def single_layer(posterior: str) -> str:
    """Return the error message for the prior of two layers with a posterior of one."""
    return f"prior=TwoLayers: must be another, because posterior={posterior} has one layer of latents"
