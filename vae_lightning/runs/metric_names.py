"""The names of the metrics that a run will log, as far as they are certain before it starts."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vae_lightning.config.errors import InputError
from vae_lightning.config.moved_names import current_name
from vae_lightning.config.rules import check_choice
from vae_lightning.runs.directory import CONFIG

__all__ = ["check_metric_names", "logged_names"]

_MODELS = ("vae_lightning.models.VAE", "vae_lightning.models.vae.VAE")
_OF_MODELS = {
    *(f"train/{name}" for name in ("loss", "recon", "kl", "objective", "gradient_norm", "lr")),
    *(f"val/{name}" for name in ("loss", "recon", "kl", "active_units")),
}
_PROBE = {"probe/train_acc", "probe/val_acc"}
# A callback that is not among these may log anything, as Lightning's LearningRateMonitor does.
_OF_CALLBACKS: dict[str, set[str]] = {
    "vae_lightning.callbacks.Curves": set(),
    "vae_lightning.callbacks.EarlyStopping": set(),
    "vae_lightning.callbacks.Figures": set(),
    "vae_lightning.callbacks.GradientStatistics": set(),  # those that it measures, see _gradients
    "vae_lightning.callbacks.LinearProbe": _PROBE,
    "vae_lightning.callbacks.Progress": set(),
    "vae_lightning.callbacks.Throughput": {"speed/images_per_second"},
    "lightning.pytorch.callbacks.EarlyStopping": set(),
    "lightning.pytorch.callbacks.ModelCheckpoint": set(),
}
# What Lightning itself adds: the progress bar's loss, and the position.
_OF_LIGHTNING = {"loss", "epoch", "step"}


def logged_names(model: Mapping[str, Any], callbacks: Mapping[str, Any]) -> set[str] | None:
    """Return the metrics of training and validation that can be logged; None if a custom class may log others.

    Arguments:
        model: the node of the model, with ``_target_``.
        callbacks: the nodes of the callbacks, by name; None stands for no callback.
    """
    targets = [current_name(str(node.get("_target_"))) for node in callbacks.values() if node]
    if current_name(str(model.get("_target_"))) not in _MODELS or not set(targets) <= set(_OF_CALLBACKS):
        return None
    return _OF_MODELS.union(*(_OF_CALLBACKS[target] for target in targets), *map(_gradients, callbacks.values()))


def _gradients(node: Mapping[str, Any] | None) -> set[str]:
    """Return the metrics of a callback that measures gradients; none of any other."""
    if not node or current_name(str(node.get("_target_"))) != "vae_lightning.callbacks.GradientStatistics":
        return set()
    prefixes = [f"gradient/{name}/" for name in node.get("estimators") or ()] or ["gradient/"]
    return {f"{prefix}{name}" for prefix in prefixes for name in ("bias", "noise", "variance", "norm", "seconds")}


def check_metric_names(config: Mapping[str, Any]) -> None:
    """Refuse a callback's monitor, or the objective of a sweep, that nothing will log.

    A run that has begun passes, because it can no longer change its callbacks.

    Raises:
        InputError: naming the key.
    """
    callbacks = config["callbacks"]
    names = logged_names(config["model"], callbacks)
    if names is None or ((Path(config["run_dir"]) / CONFIG).exists() and not config["restart"]):
        return
    check_choice(f"sweep.objective={config['sweep']['objective']}", config["sweep"]["objective"], names)
    probes = [node for node in callbacks.values() if node and str(node["_target_"]).endswith(".LinearProbe")]
    in_training = any(node.get("every_n_epochs") is not None for node in probes)
    for name, node in callbacks.items():
        monitor = (node or {}).get("monitor")
        if monitor is None:
            continue
        key = f"callbacks.{name}.monitor={monitor}"
        check_choice(key, monitor, names | _OF_LIGHTNING)
        if monitor in _PROBE and not in_training:
            raise InputError(f"{key}: must be set with the probe's every_n_epochs, which is null: no probe in training")
