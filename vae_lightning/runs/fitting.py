"""Fit one run's model, test it and store its metrics."""

import logging
import os
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import ModelCheckpoint
from omegaconf import OmegaConf

from vae_lightning.callbacks.early_stopping import restored
from vae_lightning.callbacks.fit_record import FitRecord, digest
from vae_lightning.callbacks.interruption import Interruption
from vae_lightning.callbacks.objective_report import ObjectiveReport
from vae_lightning.config.axes import axis_values
from vae_lightning.config.errors import InputError, one_line
from vae_lightning.config.targets import build
from vae_lightning.data.image_data_module import ImageDataModule
from vae_lightning.distributed import rank
from vae_lightning.matmul_precision import matmul_precision
from vae_lightning.models.trainable import Trainable
from vae_lightning.runs.checkpoints import SafeCheckpointIO, checkpoints, restoring
from vae_lightning.runs.closing_table import closing_table
from vae_lightning.runs.directory import CONFIG, clear
from vae_lightning.runs.environment import environment
from vae_lightning.runs.run import Run
from vae_lightning.runs.trainers import build_trainer, chosen_matmul_precision, compile_step
from vae_lightning.runs.warnings import filter_warnings
from vae_lightning.trackers.records import monitors

__all__ = ["fit_and_test", "logged_by_fit"]

log = logging.getLogger(__name__)


def fit_and_test(config: Mapping[str, Any], report: Callable[[int, float], bool] | None = None) -> dict[str, float]:
    """Fit, test and probe a model in this process, from the last checkpoint if there is one.

    Arguments:
        config: the checked configuration, every value resolved; this process, or another one of the same run, holds the
            lock on the run directory.
        report: as for :class:`vae_lightning.callbacks.ObjectiveReport`; None outside a search.

    Returns:
        The content of ``metrics.json``; nothing if the run is pruned.

    Raises:
        InputError: if an object cannot be built; nothing has been written then.
        FloatingPointError: if the model diverges.
        Interrupted: on SIGINT and SIGTERM.
    """
    began = time.perf_counter()
    filter_warnings()
    pl.seed_everything(config["seed"], verbose=False)  # for custom classes; built-in ones have their own streams
    run = Run(config, axis_values(config["sweep"]["axes"], OmegaConf.create(dict(config))))
    data = build("data", config["data"], pl.LightningDataModule)
    model = run.build_model(data, pl.LightningModule)
    may_resume = (run.directory / CONFIG).exists() and not config["restart"]
    resumed, state = next(checkpoints(run.directory), (None, None)) if may_resume else (None, None)
    if rank() == 0:
        data.prepare_data()
        data.setup("fit")
    fit = run.finished_fit(state)
    record = FitRecord(began, finished=fit is not None)
    reports = [] if report is None else [ObjectiveReport(config["sweep"]["objective"], report)]
    trainer = build_trainer(
        config["trainer"],
        callbacks=[*run.callbacks.values(), *reports, record, Interruption()],
        logger=False,
        plugins=[SafeCheckpointIO()],
        default_root_dir=run.directory,
    )
    if isinstance(data, ImageDataModule):
        data.steps_per_batch(trainer, model)  # refused now, if at all
    if config.get("compile"):
        compile_step(config["compile"], model, trainer)
    rows = config["data"].get("batch_size", 1) * (model.objective.samples if isinstance(model, Trainable) else 1)
    with ExitStack() as held:
        held.callback(run.end_loggers)
        if rank() == 0:
            # The last step that may refuse the configuration, because it writes to disk.
            run.begin_loggers(state)
            trainer.loggers = [*run.loggers.values()]
        # It may log what it chooses, into the run directory.
        precision = chosen_matmul_precision(
            config["trainer"], model, rows, resumed=None if state is None else run.directory
        )
        held.enter_context(matmul_precision(precision))
        if rank() == 0:
            if state is not None:
                log.info("%s resumes after epoch %d", os.path.relpath(run.directory), state["epoch"] + 1)
            run.begin(environment() | {"matmul_precision": precision}, resumes=state is not None)
        try:
            with restoring(trainer, resumed):
                trainer.fit(model, datamodule=data, ckpt_path=resumed, weights_only=True)
        except MisconfigurationException as error:
            if state is None and rank() == 0:
                clear(run.directory)  # which leaves it free for another configuration
            raise InputError(f"trainer: {one_line(error)}") from error
        for reported in reports:
            if reported.pruned is not None:
                if rank() == 0:
                    log.info("pruned after epoch %d of %d", reported.pruned, config["trainer"]["max_epochs"])
                    run.prune(reported.pruned, record.seconds["total"])
                return {}
        if state is not None and state["global_step"] == trainer.global_step and restored(trainer) is None:
            model.load_state_dict(state["state_dict"])  # nothing was left to train: the average, not what it is of
        if fit is None:
            save_again(trainer, model, record)
            logged = logged_by_fit(trainer, model, data, record)
            fit = {"epochs": trainer.current_epoch, "step": trainer.global_step, "metrics": logged}
            if rank() == 0:
                run.end_fit(fit)
        trainer.test(model, datamodule=data, verbose=False)
        metrics = run.final_metrics(fit["metrics"] | trainer.callback_metrics, fit["step"]) | {
            "epochs": fit["epochs"],
            **{f"{name}_seconds": round(seconds, 3) for name, seconds in record.seconds.items()},
        }
        if rank() == 0:
            run.finish(metrics)
            shown, alone = monitors(run.loggers.values()), config["sweep"]["axes"] is None
            print(closing_table(metrics, Path(os.path.relpath(run.directory)), shown, with_test=alone))
    return metrics


def save_again(trainer: pl.Trainer, model: pl.LightningModule, record: FitRecord) -> None:
    """Save the last checkpoint again if a callback has changed the weights since: weight averaging, early stopping."""
    if record.saved in (None, digest(model.state_dict().values())):
        return
    for callback in trainer.checkpoint_callbacks:
        if isinstance(callback, ModelCheckpoint) and callback.filename == "last":
            trainer.save_checkpoint(callback.format_checkpoint_name({}))


def logged_by_fit(
    trainer: pl.Trainer, model: pl.LightningModule, data: pl.LightningDataModule, record: FitRecord
) -> dict[str, float]:
    """Return the metrics of a fit; validate again if the last validation was of other weights than the final ones.

    If EarlyStopping has put the weights of an earlier epoch back, the metrics are that epoch's.
    """
    earlier = restored(trainer)
    if earlier is None:
        logged = dict(trainer.callback_metrics)
        validated = record.validated == digest(model.state_dict().values())
    else:
        logged, validated = dict(earlier.best["metrics"]), earlier.best["validated"]
    if not validated and trainer.enable_validation:
        trainer.validate(model, datamodule=data, verbose=False)
        logged |= trainer.callback_metrics
    return {name: float(value) for name, value in logged.items() if "/" in name}
