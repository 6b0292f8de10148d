"""The objectives of a search."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Self

from omegaconf import DictConfig

from vae_lightning.config.errors import InputError
from vae_lightning.config.rules import check_choice
from vae_lightning.runs.metric_names import logged_names
from vae_lightning.runs.rules import SWEEP

__all__ = ["Objectives", "check_objectives"]

DIRECTIONS = ("minimize", "maximize")


class Objectives(NamedTuple):
    """The metrics that a search improves, and for each whether it is to be minimised or maximised."""

    names: list[str]
    directions: list[str]

    @classmethod
    def of(cls, settings: Mapping[str, Any], objective: str) -> Self:
        """Return the objectives of a sweeper's settings; by default, the sweep's objective.

        Raises:
            InputError: if one is not a metric of training or validation, or its direction is unknown.
        """
        given = settings.get("objectives")
        if not given:
            by_name = "maximize" if objective.endswith("_acc") else "minimize"
            given = {objective: settings.get("direction") or by_name}
        for name, direction in given.items():
            key = f"hydra.sweeper.objectives.{name}"
            if not SWEEP["objective"].accepts(name):
                raise InputError(f"{key}: must be {SWEEP['objective'].allowed}")
            if direction not in DIRECTIONS:
                raise InputError(f"{key}={direction}: must be {' or '.join(DIRECTIONS)}")
        return cls([*given], [*given.values()])


def check_objectives(config: DictConfig, axes: Iterable[str]) -> None:
    """Refuse an objective that no trial will log, with which all trials would fail.

    Arguments:
        config: the multirun's configuration.
        axes: the keys that the search chooses.

    Raises:
        InputError: naming the key.
    """
    names = logged_names(config.model, config.callbacks)
    # A trial may choose another model, data set or callback.
    if names is None or any("." not in axis or axis.startswith(("callbacks.", "data.", "trainer.")) for axis in axes):
        return
    without = {}
    if str(config.data.get("_target_")).startswith("vae_lightning.") and config.data.get("val_size") == 0:
        without["data.val_size"] = {name for name in names if name.startswith("val/")} | {"probe/val_acc"}
    if config.trainer.get("limit_val_batches") == 0:
        without["trainer.limit_val_batches"] = {name for name in names if name.startswith("val/")}
    for objective in Objectives.of(config.hydra.sweeper, config.sweep.objective).names:
        several = config.hydra.sweeper.get("objectives")
        given = f"hydra.sweeper.objectives.{objective}" if several else f"sweep.objective={objective}"
        check_choice(given, objective, names)
        for key, missing in without.items():
            if objective in missing:
                raise InputError(f"{given}: must be a metric of training, because {key}=0")
