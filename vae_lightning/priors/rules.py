"""Rules for the arguments of priors."""

from vae_lightning.config.rules import Rule

RULES: dict[str, dict[str, Rule]] = {
    "StandardNormal": {},
}
