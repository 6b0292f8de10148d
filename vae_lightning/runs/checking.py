"""Check a whole configuration before anything heavy is imported."""

import re
from collections.abc import Mapping
from typing import Any

from hydra.conf import HydraConf
from omegaconf import DictConfig, OmegaConf

from vae_lightning.config.errors import IncompatibleError, InputError
from vae_lightning.config.resolving import key_names
from vae_lightning.config.rules import check, check_choice, check_digits
from vae_lightning.config.targets import check_targets
from vae_lightning.data.rules import check_val_size
from vae_lightning.models.rules import OPTIMIZER, check_choices
from vae_lightning.runs.rules import GROUPS, NAMES, RESUME, SETTINGS, SWEEP, TRAINER
from vae_lightning.runs.sizes import check_sizes

__all__ = ["check_composed", "check_config"]


def check_composed(cfg: DictConfig, hydra: HydraConf) -> None:
    """Refuse a newly composed configuration that lacks a key, or has an unknown one where it would have no effect.

    A stored configuration passes :func:`check_config` alone, because earlier versions had other keys. An unknown
    top-level key is allowed if an interpolation refers to it, if it is a custom group, and if it begins with ``_``.

    Arguments:
        cfg: the configuration.
        hydra: its ``hydra`` node.

    Raises:
        InputError: for the first such key, with the right name if a key elsewhere ends in it.
    """
    known, of_sweep = {*GROUPS, *SETTINGS, *RESUME, "sweep"}, {*SWEEP, "name", "axes"}
    sweep = cfg.get("sweep")
    if "sweep" in cfg and not isinstance(sweep, DictConfig):
        raise InputError(f"sweep={sweep}: must be a mapping of {', '.join(sorted(of_sweep))}")
    found = {*map(str, cfg), *(f"sweep.{name}" for name in sweep or ())}
    removed = sorted(known - found) or sorted({f"sweep.{name}" for name in of_sweep} - found)
    if removed:
        raise InputError(f"{removed[0]}: must not be removed, because every run needs it")
    for name in map(str, cfg.sweep):
        check_choice(f"sweep.{name}={cfg.sweep[name]}", name, of_sweep)
    check({"resume": cfg.resume}, RESUME)
    check({"sweep.name": cfg.sweep.name, "hydra.job.name": hydra.job.name}, NAMES)
    for key in sorted({*map(str, cfg)} - known - {"hydra"}):
        text = OmegaConf.to_yaml(cfg) + OmegaConf.to_yaml(hydra)
        if not (key.startswith("_") or key in hydra.runtime.choices or re.search(rf"\$\{{[^}}]*\b{key}\b", text)):
            elsewhere = (name for name in key_names(cfg) if name != key)
            check_choice(f"{key}={cfg[key]}", key, known, elsewhere)


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
    # Plain keys come first and the model last: they repeat in other groups, and an error should name the key itself.
    by_name = sorted(config, key=lambda name: (isinstance(config[name], Mapping), name == "model"))
    for name in by_name:
        check_digits(config[name], name)
    check(config, SETTINGS)
    for group, rules in (("sweep", SWEEP), ("trainer", TRAINER), ("optimizer", OPTIMIZER)):
        check(config.get(group, {}), rules, f"{group}.")
    for name in by_name:
        check_targets(config[name], f"{name}.")
    check_choices(config["model"])
    _check_estimators(config)
    check_val_size(config["data"])
    for group in ("callbacks", "logger"):
        for name, node in config[group].items():
            if not isinstance(node, Mapping | None):
                raise InputError(f"{group}.{name}={node}: must be a mapping with _target_ and its arguments, or null")
    check_sizes(config)
    for name, node in config["callbacks"].items():
        _check_file_name(f"callbacks.{name}", node or {})
        _check_restoring(f"callbacks.{name}", node or {}, config["callbacks"])
        _check_decoder_bias(f"callbacks.{name}", node or {}, config["model"])
        several_C = isinstance((node or {}).get("C"), list | tuple) and len(node["C"]) > 1
        if several_C and config["data"].get("val_size") == 0:
            raise InputError(
                f"callbacks.{name}.C={node['C']}: must be one value, because validation chooses among several and "
                "data.val_size=0"
            )


def _check_estimators(config: Mapping[str, Any]) -> None:
    """Refuse estimators whose gradients are to be measured although they do not go with the posterior."""
    for name, node in config["callbacks"].items():
        if isinstance(node, Mapping) and str(node.get("_target_")).endswith(".GradientStatistics"):
            for label, estimator in (node.get("estimators") or {}).items():
                try:
                    check_choices({**config["model"], "estimator": estimator})
                except IncompatibleError as error:
                    raise IncompatibleError(f"callbacks.{name}.estimators.{label}: {error}") from error


def _check_file_name(key: str, node: Mapping[str, Any]) -> None:
    """Refuse to keep several checkpoints under one name, which would not be that of the best."""
    name, kept = node.get("filename"), node.get("save_top_k", 1)
    if str(node.get("_target_")).endswith("ModelCheckpoint") and name and "{" not in name and kept not in (0, 1):
        raise InputError(
            f"{key}.save_top_k={kept}: must be 1, because {key}.filename={name} has no {{epoch}} or {{step}}"
        )


def _check_restoring(key: str, node: Mapping[str, Any], callbacks: Mapping[str, Any]) -> None:
    """Refuse to put the best weights back where a metric is that of averaged weights, which differ from them."""
    averaging = (name for name, each in callbacks.items() if each and str(each.get("_target_")).endswith("Averaging"))
    if node.get("restore_best") and (average := next(averaging, None)) is not None:
        raise InputError(f"{key}.restore_best=true: must be false, because callbacks.{average} averages the weights")


def _check_decoder_bias(key: str, node: Mapping[str, Any], model: Mapping[str, Any]) -> None:
    """Refuse to set the bias of a custom decoder, or where the sigmoid of the logits is not the mean image."""
    if not str(node.get("_target_")).endswith(".DecoderBias"):
        return
    decoder, likelihood = (str((model.get(name) or {}).get("_target_")) for name in ("decoder", "likelihood"))
    if decoder != "None":
        raise InputError(f"{key}: must be null with model.decoder._target_={decoder}, because it needs linear layers")
    if likelihood.endswith(".ContinuousBernoulli"):
        raise InputError(f"{key}: must be null with likelihood={likelihood}, because it needs the log-odds of the mean")
