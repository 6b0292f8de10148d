"""A run: its configuration, directory, callbacks and loggers."""

import logging
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any, TypeVar

from lightning.pytorch import Callback, LightningDataModule
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import Logger
from lightning.pytorch.utilities.model_helpers import is_overridden
from omegaconf import OmegaConf

from vae_lightning.callbacks.curves import Curves
from vae_lightning.callbacks.early_stopping import EarlyStopping
from vae_lightning.callbacks.gradient_statistics import GradientStatistics
from vae_lightning.config.axes import axis_values
from vae_lightning.config.errors import InputError
from vae_lightning.config.targets import build, find_class
from vae_lightning.models.vae import VAE
from vae_lightning.runs.checkpoints import weights_epoch
from vae_lightning.runs.directory import (
    CONFIG,
    ENVIRONMENT,
    FAILURE,
    FIT,
    METRICS,
    PRUNED,
    RETRIED,
    TRACKERS,
    clear,
    stored_fit,
    stored_metrics,
    stored_tracker_ids,
)
from vae_lightning.trackers.configuration import show_config, show_result
from vae_lightning.trackers.records import begin_trackers, end_trackers, tracker_ids
from vae_lightning.whole_files import write_file, write_json

__all__ = ["Run"]

log = logging.getLogger(__name__)

# The hyperparameters that every run shows in TensorBoard's HParams besides the axes of its sweep, because one table may
# show runs and sweeps together.
HYPERPARAMETERS = ("model.latent_dim", "optimizer.lr", "data.batch_size", "trainer.max_epochs", "seed")

T = TypeVar("T")


class Run:
    """A run, from the start of its training to its end.

    Arguments:
        config: the configuration, every value resolved.
        axes: by short name, the sweep's axes with their values in this run.

    Attributes:
        hyperparameters: by short name, the values that TensorBoard's HParams shows.
        directory: the run directory.
        callbacks: the callbacks by name, without those that monitor validation if there is none.
        loggers: the loggers by name; empty until :meth:`begin_loggers`.

    Raises:
        InputError: if a callback cannot be built.
    """

    def __init__(self, config: Mapping[str, Any], axes: Mapping[str, Any]) -> None:
        self.config = config
        self.hyperparameters = axis_values(HYPERPARAMETERS, OmegaConf.create(dict(config))) | dict(axes)
        self.directory = Path(config["run_dir"])
        self.callbacks: dict[str, Callback] = {}
        self.loggers: dict[str, Logger] = {}
        data = find_class("data._target_", config["data"].get("_target_"), LightningDataModule)
        missing = "data.val_size=0" if config["data"].get("val_size") == 0 else None
        if not is_overridden("val_dataloader", data, LightningDataModule):
            missing = f"{data.__name__} has no val_dataloader"
        for name, node in config["callbacks"].items():
            if missing is not None and str((node or {}).get("monitor", "")).startswith("val/"):
                log.info("callbacks.%s is left out, because it monitors %s and %s", name, node["monitor"], missing)
            elif node:
                self.callbacks[name] = build(f"callbacks.{name}", node, Callback)

    def build_model(self, data: object, base: type[T]) -> T:
        """Build the model; if ``model.image_shape`` is null, it is the shape of the data's images.

        Likewise, ``model.classes=auto`` is the number of their classes.

        Raises:
            InputError: if the model cannot be built, expects images of another shape, the data do not say how many
                classes there are, or estimators whose gradients are measured do not go with the model.
        """
        model = self._built(data, base)
        for name, callback in self.callbacks.items():
            if isinstance(callback, GradientStatistics) and isinstance(model, VAE):
                try:
                    callback.check(model)
                except InputError as error:
                    raise InputError(f"callbacks.{name}.{error}") from error
        return model

    def _built(self, data: object, base: type[T]) -> T:
        node, shape = self.config["model"], getattr(data, "image_shape", None)
        if node.get("classes") is not None and getattr(data, "classes", 0) is None:
            raise InputError(f"model.classes={node['classes']}: must be null, because the data have no labels")
        if node.get("classes") == "auto":
            classes = getattr(data, "classes", None)
            if classes is None:
                raise InputError("model.classes=auto: must be a number, because the data do not say how many there are")
            node = {**node, "classes": classes}
        if shape is None:  # custom data without this attribute
            return build("model", node, base)
        if node.get("image_shape", shape) is None:
            node = {**node, "image_shape": list(shape)}
        model = build("model", node, base)
        found = getattr(model, "image_shape", shape)
        if tuple(found) != tuple(shape):
            raise InputError(f"model.image_shape={list(found)}: must be {list(shape)}, as in the data, or null")
        return model

    def begin_loggers(self, checkpoint: Mapping[str, Any] | None) -> None:
        """Build the loggers; a run that resumes continues its records from the checkpoint's step.

        Raises:
            InputError: if a logger cannot be built, its server cannot be reached, or its login is missing.
        """
        ids = {} if self.config["restart"] else stored_tracker_ids(self.directory)
        self.loggers = begin_trackers(self.config["logger"], ids, checkpoint["global_step"] if checkpoint else None)

    def begin(self, environment: Mapping[str, Any], resumes: bool) -> None:
        """Write the configuration, environment and tracker IDs; unless the run resumes, clear an earlier one first."""
        if not resumes and (self.directory / CONFIG).exists():
            clear(self.directory)
        for outcome in (FAILURE, PRUNED, RETRIED):
            (self.directory / outcome).unlink(missing_ok=True)
        write_file(self.directory / CONFIG, OmegaConf.to_yaml(dict(self.config)))
        write_json(self.directory / ENVIRONMENT, environment)
        if ids := tracker_ids(self.loggers):
            write_json(self.directory / TRACKERS, ids)
        show_config(self.loggers.values(), self.config, self.hyperparameters, resumes)

    def finished_fit(self, checkpoint: Mapping[str, Any] | None) -> dict[str, Any] | None:
        """Return the content of ``fit.json`` if the checkpoint from which the run resumes is that of the fit's end."""
        stored = stored_fit(self.directory)
        return stored if checkpoint is not None and stored.get("step") == checkpoint["global_step"] else None

    def end_fit(self, fit: Mapping[str, Any]) -> None:
        """Store that only the test is left: the fit's epochs, optimiser steps and metrics."""
        write_json(self.directory / FIT, fit)

    def final_metrics(self, logged: Mapping[str, Any], step: int) -> dict[str, float]:
        """Return the run's losses and accuracies; those measured on other weights than the final ones are left out.

        Arguments:
            logged: the Trainer's metrics. After a resume they lack the earlier epochs, which the curves have.
            step: the number of optimiser steps; EarlyStopping may have put the weights of an earlier one back.
        """
        everything = dict(logged)
        stopping = [callback for callback in self.callbacks.values() if isinstance(callback, EarlyStopping)]
        for each in stopping:
            step = each.best["step"] if each.restored else step
        for callback in self.callbacks.values():
            if isinstance(callback, Curves):
                earlier = {name for row in callback.rows for name in row}
                of_final_weights = [row for row in callback.rows if row["step"] == step]
                everything = {name: value for name, value in logged.items() if name not in earlier}
                for row in of_final_weights:
                    everything |= row
        stages = ("train/", "val/", "test/", "probe/", "gradient/")
        found = {name: float(value) for stage in stages for name, value in everything.items() if name.startswith(stage)}
        for each in stopping:
            found |= each.outcome
        return found | self._speed() | self._best()

    def _speed(self) -> dict[str, float]:
        """Return the seconds of an optimiser step, the mean over the epochs that the curves have.

        That of a run in a stack is its share of the time, because its images per second are those of all its models.
        """
        name, batch = "speed/images_per_second", self.config["data"].get("batch_size")
        for callback in self.callbacks.values():
            if isinstance(callback, Curves) and batch is not None:
                each = [batch / row[name] for row in callback.rows if row.get(name)]
                return {"speed/step_seconds": fmean(each)} if each else {}
        return {}

    def _best(self) -> dict[str, float]:
        """Return the best epoch, counted from 1, and the value of its metric, for each metric that is monitored."""
        found: dict[str, float] = {}
        for callback in self.callbacks.values():
            if isinstance(callback, ModelCheckpoint) and callback.monitor and callback.best_model_score is not None:
                path = Path(callback.best_model_path)
                if path.is_file():
                    epoch = weights_epoch(path)
                    found |= {"best/epoch": epoch, f"best/{callback.monitor}": float(callback.best_model_score)}
        return found

    def finish(self, metrics: Mapping[str, float]) -> None:
        """Log the hyperparameters and final metrics to TensorBoard's HParams; mark the run as complete."""
        show_result(self.loggers.values(), self.hyperparameters, metrics)
        write_json(self.directory / METRICS, metrics)

    def prune(self, epoch: int, seconds: float) -> None:
        """Store that the run has been pruned after an epoch, counted from 1; it has no final metrics.

        Arguments:
            epoch: the epoch.
            seconds: the time of the whole run.
        """
        planned = self.config["trainer"]["max_epochs"]
        write_json(self.directory / PRUNED, {"epoch": epoch, "epochs": planned, "seconds": round(seconds, 3)})

    def end_loggers(self) -> None:
        """End the records, as finished if the run is complete or pruned, otherwise as failed."""
        ended = (self.directory / PRUNED).exists() or stored_metrics(self.directory) is not None
        end_trackers(self.loggers.values(), failed=not ended)
