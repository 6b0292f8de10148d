"""Rules for the arguments of models and of their optimisers."""

from vae_lightning.config.rules import (
    Rule,
    boolean,
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

RULES: dict[str, dict[str, Rule]] = {
    "VAE": {
        "latent_dim": integer(at_least=1),
        "widths": several(integer(at_least=1)),
        "decoder_widths": optional(several(integer(at_least=1))),
        "activation": one_of("relu", "leaky_relu", "elu", "silu", "gelu", "tanh"),
        "encoder": optional(target),
        "decoder": optional(target),
        "image_shape": optional(several(integer(at_least=1), count=3)),  # null: that of the data
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
