"""Rules for the arguments of networks."""

from vae_lightning.config.rules import Rule, integer, several

_CONV = {"channels": several(integer(at_least=1))}
_RESIDUAL = {**_CONV, "blocks": integer(at_least=1)}

# The configuration gives these arguments; the model adds image_shape, latent_dim and outputs.
RULES: dict[str, dict[str, Rule]] = {
    "ConvDecoder": _CONV,
    "ConvEncoder": _CONV,
    "ResidualDecoder": _RESIDUAL,
    "ResidualEncoder": _RESIDUAL,
}
