"""The stored configuration of a run, and its differences from another."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from vae_lightning.config.errors import InputError
from vae_lightning.config.moved_names import with_current_names
from vae_lightning.runs.directory import CONFIG

__all__ = ["check_same", "differences", "read_config", "relocated"]

# Options that were added after the first runs, with the values that all of those runs used.
_LATER = {
    "posterior": {"_target_": "vae_lightning.posteriors.Gaussian"},
    "prior": {"_target_": "vae_lightning.priors.StandardNormal"},
}

# Keys that do not affect a run's metrics.
_WITHOUT_EFFECT = ("run_dir", "restart", "resume", "sweep", "data.root", "data.mirror", "data.block_size", "logger")


def read_config(run: Path) -> dict[str, Any]:
    """Return the configuration that a run was started with, as plain values.

    Raises:
        InputError: if the file cannot be read, or does not hold a run's configuration.
    """
    try:
        config = OmegaConf.to_container(OmegaConf.load(run / CONFIG))
    except Exception as error:  # OmegaConf exports no common base class for the YAML parser's errors
        raise InputError(f"{run / CONFIG}: cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(config, dict) or not {"data", "model", "callbacks"} <= set(config):
        raise InputError(f"{run / CONFIG}: must have data, model and callbacks, as vae-train writes them")
    return {str(key): value for key, value in config.items()}


def differences(there: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return the differences that affect a run's metrics, e.g. ``latent_dim: 20, now 10``."""
    left, right = (dict(_leaves(_comparable(config))) for config in (there, now))
    keys = sorted(left.keys() | right.keys())
    return [
        f"{key}: {left.get(key, 'not set')}, now {right.get(key, 'not set')}"
        for key in keys
        if left.get(key, ...) != right.get(key, ...)
    ]


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
    later = {name: value for name, value in _LATER.items() if name not in config}
    model = {name: value for name, value in _LATER.items() if name not in config.get("model", {})}
    complete = {**config, **later, "model": {**config.get("model", {}), **model}}
    return relocated(with_current_names(complete), ".")


def relocated(config: Mapping[str, Any], folder: str) -> dict[str, Any]:
    """Return the configuration of a run with its run directory replaced by another folder."""
    old, new = json.dumps(str(config.get("run_dir")))[1:-1], json.dumps(folder)[1:-1]
    changed = json.dumps(config).replace(f'"{old}/', f'"{new}/').replace(f'"{old}"', f'"{new}"')
    return dict(json.loads(changed))


def _leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if path in _WITHOUT_EFFECT:
        return
    if isinstance(node, Mapping) and node:
        for key, child in node.items():
            yield from _leaves(child, f"{path}.{key}".lstrip("."))
    else:
        yield path, node
