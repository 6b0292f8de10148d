"""Rules for the arguments of a run's settings and its Trainer."""

import re

from vae_lightning.config.rules import Rule, boolean, integer, name, one_of, optional, seed, several, text

# Top-level keys of a configuration, besides its groups, "sweep" and "hydra".
SETTINGS: dict[str, Rule] = {
    "seed": seed,
    "run_dir": text,
    "restart": boolean,
    "compile": one_of(False, True, "max"),
}
RESUME: dict[str, Rule] = {"resume": optional(text)}

# Groups of a configuration.
GROUPS = (
    *("data", "model", "posterior", "prior", "likelihood", "objective", "estimator"),
    *("optimizer", "schedule", "trainer", "callbacks", "logger"),
)

TRAINER: dict[str, Rule] = {
    "max_epochs": integer(at_least=1),
    "accelerator": text,
    "devices": Rule(
        "auto, -1, a whole number of at least 1, or a list of device indices",
        lambda value: value in ("auto", -1) or integer(1).accepts(value) or several(integer(0)).accepts(value),
        {"anyOf": [{"enum": ["auto", -1]}, integer(1).schema, several(integer(0)).schema]},
    ),
    "num_nodes": integer(at_least=1),
    # Others start processes in their own way, or shard models that are too small to shard.
    "strategy": one_of("auto", "ddp"),
    "matmul_precision": one_of("auto", "highest", "high", "medium"),
    "precision": one_of(
        "32-true", "16-mixed", "bf16-mixed", "64-true", "bf16-true", "16-true", "32", "16", "64", "bf16", 32, 16, 64
    ),
}

_METRIC = r"(train|val)/\w+|probe/(train|val)_acc"

SWEEP: dict[str, Rule] = {
    "objective": Rule(
        "a metric of training or validation, e.g. val/loss or probe/val_acc, because the test set is for testing only",
        lambda value: isinstance(value, str) and re.fullmatch(_METRIC, value) is not None,
        {"type": "string", "pattern": f"^({_METRIC})$"},
    ),
    "on_failure": one_of("continue", "stop"),
}

# Names that become paths, by full key. Stored runs may hold others.
NAMES: dict[str, Rule] = {"sweep.name": name, "hydra.job.name": name}
