"""Check a whole configuration before anything heavy is imported."""

from collections.abc import Mapping
from typing import Any

from vae_lightning.config.errors import InputError
from vae_lightning.config.rules import check
from vae_lightning.config.targets import check_targets
from vae_lightning.data.rules import check_val_size
from vae_lightning.models.rules import OPTIMIZER
from vae_lightning.runs.rules import SETTINGS, SWEEP, TRAINER
from vae_lightning.runs.sizes import check_sizes

__all__ = ["check_config"]


def check_config(config: Mapping[str, Any]) -> None:
    """Refuse wrong keys, types and values out of range, as far as this is possible before torch is imported.

    Arguments:
        config: the resolved configuration as plain dicts and lists.

    Raises:
        InputError: for the first key or value that is not allowed.
    """
    for group in ("data", "model", "optimizer", "trainer", "callbacks", "logger"):
        if not isinstance(config.get(group), Mapping):
            raise InputError(f"{group}={config.get(group)}: must be a mapping, as in a file of conf/{group}")
    sweep = config.get("sweep", {})
    if not isinstance(sweep, Mapping):
        raise InputError(f"sweep={sweep}: must be a mapping, as in conf/train.yaml")
    axes = sweep.get("axes")
    if axes is not None and not (isinstance(axes, list) and all(isinstance(axis, str) for axis in axes)):
        raise InputError(f"sweep.axes={axes}: must be a list of keys, or null")
    check(config, SETTINGS)
    for group, rules in (("sweep", SWEEP), ("trainer", TRAINER), ("optimizer", OPTIMIZER)):
        check(config.get(group, {}), rules, f"{group}.")
    # The model comes last: it repeats other groups, and an error should name the key in its own group.
    for name in sorted(config, key=lambda name: name == "model"):
        check_targets(config[name], f"{name}.")
    check_val_size(config["data"])
    for group in ("callbacks", "logger"):
        for name, node in config[group].items():
            if not isinstance(node, Mapping | None):
                raise InputError(f"{group}.{name}={node}: must be a mapping with _target_ and its arguments, or null")
    check_sizes(config)
    for name, node in config["callbacks"].items():
        _check_file_name(f"callbacks.{name}", node or {})
        several_C = isinstance((node or {}).get("C"), list | tuple) and len(node["C"]) > 1
        if several_C and config["data"].get("val_size") == 0:
            raise InputError(
                f"callbacks.{name}.C={node['C']}: must be one value, because validation chooses among several and "
                "data.val_size=0"
            )


def _check_file_name(key: str, node: Mapping[str, Any]) -> None:
    """Refuse to keep several checkpoints under one name, which would not be that of the best."""
    name, kept = node.get("filename"), node.get("save_top_k", 1)
    if str(node.get("_target_")).endswith("ModelCheckpoint") and name and "{" not in name and kept not in (0, 1):
        raise InputError(
            f"{key}.save_top_k={kept}: must be 1, because {key}.filename={name} has no {{epoch}} or {{step}}"
        )
