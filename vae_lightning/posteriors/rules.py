"""Rules for the arguments of posteriors; the model adds latent_dim."""

from vae_lightning.config.rules import Rule

RULES: dict[str, dict[str, Rule]] = {
    "Gaussian": {},
    "Laplace": {},
}
