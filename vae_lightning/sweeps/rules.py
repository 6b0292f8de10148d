"""Rules for the arguments of sweeps and launchers."""

from collections.abc import Mapping
from typing import Any

from vae_lightning.config.rules import Rule, integer, number, optional, several, text

_OBJECT = {"type": "object"}
_PARAMS = Rule("a mapping of keys to the values to sweep over", lambda value: isinstance(value, Mapping), _OBJECT)
_AXIS = Rule("the key of an axis", lambda value: isinstance(value, str), {"type": "string"})

# The arguments of the stacked launcher, keys of hydra.launcher.
STACKED: dict[str, Rule] = {"max_stack": optional(integer(at_least=1))}

_MAPPING = optional(Rule("a mapping", lambda value: isinstance(value, Mapping), _OBJECT))

# Keys of hydra.sweeper.
SWEEPER: dict[str, Rule] = {
    "max_batch_size": optional(integer(at_least=1)),
    "params": optional(_PARAMS),
    "paired": optional(several(several(_AXIS))),
    "grids": optional(several(_PARAMS)),
    "pruner": _MAPPING,
}

# Keys of hydra.sweeper in a search, besides those of every sweeper.
SEARCH: dict[str, Rule] = {
    "conditions": _MAPPING,
    "n_trials": integer(at_least=1),
    "timeout": optional(number(above=0)),
    "n_jobs": optional(integer(at_least=1)),
    "seeds": optional(several(integer(at_least=0))),
    "objectives": _MAPPING,
    "direction": optional(text),
    "study_name": text,
    "storage": optional(text),
    "retries": integer(at_least=0),
    "heartbeat": number(above=0),
    "max_failure_rate": number(at_least=0),
    "sampler": Rule("a mapping with _target_", lambda value: isinstance(value, Mapping), _OBJECT),
}

# The extra that each launcher needs.
EXTRAS = {"joblib": "joblib", "ray": "ray", "submitit_local": "submitit", "submitit_slurm": "submitit"}

# Settings of a search that need more than Optuna: the key, the beginning of its value, the extra and its package.
PACKAGES = [
    ("sampler._target_", "optuna.samplers.CmaEsSampler", "optuna", "cmaes"),
    ("storage", "postgresql:", "postgresql", "psycopg"),
    ("storage", "postgresql+psycopg:", "postgresql", "psycopg"),
]


def prunes(pruner: Mapping[str, Any] | None) -> bool:
    """Return whether a sweeper's pruner may end a trial."""
    return pruner is not None and pruner.get("_target_") != "optuna.pruners.NopPruner"
