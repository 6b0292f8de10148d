"""The stored configuration of a run, and its differences from another."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from vae_lightning.config.errors import InputError, one_line
from vae_lightning.config.moved_names import with_current_names
from vae_lightning.config.targets import rules_of
from vae_lightning.runs.directory import CONFIG
from vae_lightning.runs.outputs import check_outputs

__all__ = [
    "check_same",
    "comparable_settings",
    "config_to_resume",
    "differences",
    "read_config",
    "relocated",
    "with_data",
]

# Options that were added after the first runs, with the values that all of those runs used.
_LATER_CHOICES = {
    "posterior": {"_target_": "vae_lightning.posteriors.Gaussian"},
    "prior": {"_target_": "vae_lightning.priors.Standard"},
}
_LATER = {**_LATER_CHOICES, "compile": False}
_LATER_OF_MODEL = {**_LATER_CHOICES, "classes": None, "prior_optimizer": None}
_LATER_OF_GRADIENTS = {"estimators": None, "reference": None, "own_steps": 100, "every_n_steps": None, "picture": None}
# A run of an earlier version goes on with the precision that it had, whatever is asked for.
_LATER_OF_TRAINER = {"matmul_precision": "auto"}

# What every reader of a stored configuration relies on.
_READ = ("data", "model", "callbacks")

# Keys that do not affect a run's metrics.
_WITHOUT_EFFECT = (
    *("run_dir", "restart", "resume", "sweep", "logger"),
    *("data.root", "data.mirror", "data.block_size", "data.memory_map", "data.cache"),
)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Reads a stored configuration as OmegaConf does, in a tenth of the time: a report reads hundreds."""


# YAML 1.1, which PyYAML reads, takes 1e-3 for a text.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d[\d_]*)(\.[\d_]*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def read_config(run: Path, name: Path = CONFIG) -> dict[str, Any]:
    """Return the configuration that a run was started with, as plain values; interpolations stay as they are written.

    Arguments:
        run: the folder.
        name: the file in it.

    Raises:
        InputError: if the file cannot be read, or does not hold a run's configuration.
    """
    try:
        config = yaml.load((run / name).read_bytes(), _Loader)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise InputError(f"{run / name}: cannot be read: {one_line(error)}") from error
    if not isinstance(config, dict) or not all(isinstance(config.get(name), dict) for name in _READ):
        raise InputError(f"{run / name}: must have data, model and callbacks as mappings, as vae-train writes them")
    return _in_batches({str(key): value for key, value in config.items()})


def with_data(config: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's configuration with arguments of its data replaced; with ``_target_``, the data are others.

    Arguments:
        config: the configuration.
        given: the arguments. One of None stays as it is in the run; other data have it only if they have a rule for it.
    """
    rules = rules_of(str(given.get("_target_"))) or {}
    own = {key: value for key, value in given.items() if value is not None or key in rules}
    return {**config, "data": own if "_target_" in own else {**config["data"], **own}}


def _in_batches(config: dict[str, Any]) -> dict[str, Any]:
    """Translate counts of blocks, as earlier versions stored them, to batches; blocks have no other effect."""
    size, trainer = config["data"].get("block_size"), config.get("trainer")
    if type(size) is not int or size == 1 or not isinstance(trainer, dict):
        return config
    counts = {
        name: trainer[name] * size
        for name in ("limit_train_batches", "val_check_interval")
        if type(trainer.get(name)) is int
    }
    return {**config, "data": {**config["data"], "block_size": "auto"}, "trainer": {**trainer, **counts}}


def config_to_resume(run: Path) -> dict[str, Any]:
    """Return the stored configuration of a run for ``resume=``, with the folder where the run lies now.

    The folder may come from someone else, so nothing in it may make the run write elsewhere.

    Raises:
        InputError: if there is no run, its configuration is not one that a run stores, or an output is outside the run
            directory (see :func:`vae_lightning.runs.outputs.check_outputs`).
    """
    if not (run / CONFIG).is_file():
        raise InputError(f"resume={run}: must be a run directory, but {run / CONFIG} does not exist")
    stored, folder = read_config(run), run.resolve()
    missing = [name for name in ("logger", "seed", "sweep", "trainer") if name not in stored]
    if missing:
        raise InputError(f"{run / CONFIG}: must have {', '.join(missing)}, as vae-train writes them")
    config = relocated(stored, str(folder)) | {"run_dir": str(folder), "restart": False}
    check_outputs(config, folder)
    return config


def differences(there: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the differences that affect a run's metrics, e.g. ``latent_dim: 20, now 10``."""
    left, right = comparable_settings(there), comparable_settings(now)
    keys = sorted(left.keys() | right.keys())
    return [
        f"{key}: {left.get(key, 'not set')}, now {right.get(key, 'not set')}"
        for key in keys
        if left.get(key, ...) != right.get(key, ...)
    ]


def comparable_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values that affect a run's metrics, by key, whatever version stored the configuration."""
    return dict(_leaves(_comparable(config)))


def check_same(run: Path, config: Mapping[str, Any]) -> None:
    """Refuse a folder that holds a run of another configuration.

    Raises:
        InputError: with the differences.
    """
    if (run / CONFIG).exists() and not config["restart"]:
        changed = differences(read_config(run), config)
        if changed:
            raise InputError(
                f"{run}: holds a run of another configuration ({'; '.join(changed)}); choose another folder, "
                "or start over with restart=true"
            )


def _comparable(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration that depends neither on the version that wrote it nor on the run directory."""
    complete = {
        **_LATER,
        **config,
        "model": {**_LATER_OF_MODEL, **config.get("model", {})},
        "trainer": {**_LATER_OF_TRAINER, **config.get("trainer", {})},
        "callbacks": {name: _with_later(node) for name, node in config.get("callbacks", {}).items()},
    }
    return relocated(with_current_names(complete), ".")


def _with_later(callback: Any) -> Any:
    """Return the node of a callback with the arguments that were added later; a picture changes no metric."""
    if not isinstance(callback, Mapping) or not str(callback.get("_target_")).endswith(".GradientStatistics"):
        return callback
    return {**_LATER_OF_GRADIENTS, **callback, "picture": None}


def relocated(config: Mapping[str, Any], folder: str) -> dict[str, Any]:
    """Return the configuration of a run with its run directory replaced by another folder, also in local URIs."""
    within = re.compile(rf"((?:file|sqlite):/*?)?{re.escape(str(config.get('run_dir')))}(?=/|$)")

    def moved(node: Any) -> Any:
        if isinstance(node, Mapping):
            return {key: moved(child) for key, child in node.items()}
        if isinstance(node, list | tuple):
            return [*map(moved, node)]
        found = within.match(node) if isinstance(node, str) else None
        return node if found is None else f"{found[1] or ''}{folder}{node[found.end() :]}"

    return {key: moved(child) for key, child in config.items()}


def _leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if path in _WITHOUT_EFFECT:
        return
    if isinstance(node, Mapping) and node:
        for key, child in node.items():
            yield from _leaves(child, f"{path}.{key}".lstrip("."))
    else:
        yield path, node
