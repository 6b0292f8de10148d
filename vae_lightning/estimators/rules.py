"""Rules for the arguments of gradient estimators."""

from vae_lightning.config.rules import Rule, boolean

RULES: dict[str, dict[str, Rule]] = {
    "NoGradient": {},
    "Reparameterization": {},
    "ScoreFunction": {"baseline": boolean},
}
