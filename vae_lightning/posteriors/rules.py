"""Rules for the arguments of posteriors."""

from vae_lightning.config.rules import Rule

RULES: dict[str, dict[str, Rule]] = {
    "Gaussian": {},
}
