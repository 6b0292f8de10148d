"""Rules for the arguments of vae-eval and vae-export."""

from vae_lightning.config.rules import Rule, integer, one_of, optional, text
from vae_lightning.evaluation.rules import PROBE
from vae_lightning.evaluation.rules import RULES as EVALUATION

EXPORT: dict[str, Rule] = {"run": text, "checkpoint": one_of("last", "best")}

EVALUATE: dict[str, Rule] = {
    **EXPORT,
    **EVALUATION["log_likelihood"],
    "split": one_of("test", "val", "train"),
    "images": optional(integer(at_least=2)),
    "samples": optional(integer(at_least=0)),
    "probe_C": optional(PROBE["C"]),
}
