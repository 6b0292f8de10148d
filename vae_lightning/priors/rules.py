"""Rules for the arguments of priors; the model adds latent_dim and image_shape."""

from vae_lightning.config.rules import Rule, integer

RULES: dict[str, dict[str, Rule]] = {
    "Flow": {"layers": integer(at_least=1), "hidden": integer(at_least=1)},
    "Learned": {},
    "Mixture": {"components": integer(at_least=1)},
    "Standard": {},
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
