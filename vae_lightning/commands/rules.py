"""Rules for the arguments of vae-eval, vae-encode, vae-explore and vae-export."""

import re
from pathlib import PurePath

from vae_lightning.config.rules import Rule, boolean, integer, one_of, optional, text
from vae_lightning.evaluation.rules import PROBE
from vae_lightning.evaluation.rules import RULES as EVALUATION

_RUN: dict[str, Rule] = {"run": text, "checkpoint": one_of("last", "best")}

ENCODE: dict[str, Rule] = {
    **_RUN,
    "split": one_of("all", "train", "val", "test"),
    "output": optional(
        Rule(
            "a file whose name ends in .npz, .csv or .parquet",
            lambda value: isinstance(value, str) and PurePath(value).suffix in (".npz", ".csv", ".parquet"),
            {"type": "string", "pattern": r"[^/]\.(npz|csv|parquet)$"},
        )
    ),
    "seed": one_of(0),
}

_LICENCE = Rule(
    "the name of a licence, e.g. mit or apache-2.0",
    lambda value: isinstance(value, str) and re.fullmatch(r"[\w.+-]+", value) is not None,
    {"type": "string", "pattern": r"^[\w.+-]+$"},
)

EXPORT: dict[str, Rule] = {**_RUN, "to": optional(text), "onnx": boolean, "license": optional(_LICENCE)}

EVALUATE: dict[str, Rule] = {
    **_RUN,
    **EVALUATION["log_likelihood"],
    "split": one_of("test", "val", "train"),
    "images": optional(integer(at_least=2)),
    "samples": optional(integer(at_least=0)),
    "probe_C": optional(PROBE["C"]),
}

EXPLORE: dict[str, Rule] = {
    **_RUN,
    "other": optional(text),
    "split": EVALUATE["split"],
    "images": integer(at_least=2),
    "port": integer(at_least=0, at_most=65535),
    "browser": boolean,
}
