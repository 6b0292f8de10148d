"""Rules for the arguments of callbacks."""

from vae_lightning.config.rules import Rule, boolean, choice, choices, integer, number, one_of, optional, target, text
from vae_lightning.evaluation.rules import PROBE

RULES: dict[str, dict[str, Rule]] = {
    "Curves": {"table": text, "picture": text},
    "DecoderBias": {},
    "EarlyStopping": {
        "monitor": text,
        "mode": one_of("min", "max"),
        "patience": integer(at_least=1),
        "min_delta": number(at_least=0),
        "restore_best": boolean,
    },
    "Figures": {
        "directory": text,
        "every_n_epochs": optional(integer(at_least=1)),
        "reconstructions": integer(at_least=1),
        "samples": integer(at_least=1),
        "embedded": integer(at_least=2),
    },
    "GradientStatistics": {
        "every_n_epochs": integer(at_least=1),
        "images": integer(at_least=1),
        "estimates": integer(at_least=2),
        "references": integer(at_least=2),
        "reference_posterior": optional(target),
        "estimators": optional(choices("estimator")),
        "reference": optional(choice("estimator")),
        "own_steps": integer(at_least=1),
        "every_n_steps": optional(integer(at_least=1)),
        "picture": optional(text),
    },
    "LinearProbe": {
        "every_n_epochs": optional(integer(at_least=1)),
        **PROBE,
        "max_train_images": optional(integer(at_least=10)),
    },
    "Progress": {"refresh_rate": integer(at_least=1)},
    "Throughput": {},
}
