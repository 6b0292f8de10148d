"""Rules for the arguments of likelihoods."""

from vae_lightning.config.rules import Rule

RULES: dict[str, dict[str, Rule]] = {
    "Bernoulli": {},
    "ContinuousBernoulli": {},
    "Gaussian": {},
}
