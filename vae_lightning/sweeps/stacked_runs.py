"""Train the runs of a sweep as one stack."""

import logging
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import lightning.pytorch as pl

from vae_lightning.callbacks.fit_record import FitRecord
from vae_lightning.callbacks.interruption import Interruption
from vae_lightning.config.targets import build
from vae_lightning.data.image_data_module import ImageDataModule
from vae_lightning.data.stack_data import StackData
from vae_lightning.models.stack import Stack
from vae_lightning.runs.directory import locked
from vae_lightning.runs.environment import environment
from vae_lightning.runs.fitting import built_parts, logged_by_fit
from vae_lightning.runs.warnings import filter_warnings
from vae_lightning.sweeps.stack_views import CallbackViews, CheckpointView, LoggerView, by_run
from vae_lightning.sweeps.stacked_run import StackedRun

__all__ = ["train_stacked"]

log = logging.getLogger(__name__)

# The metrics that are logged at the end of each run, with their number of decimals; none of test, which the sweep shows
# for the chosen configuration alone.
SHOWN = {"train/loss": 2, "val/loss": 2, "probe/val_acc": 4}


def train_stacked(runs: Sequence[StackedRun]) -> list[Exception | None]:
    """Train, test and probe the models of several runs as one stack; write everything to their run directories.

    Arguments:
        runs: runs whose configurations differ only in their seeds and in the options that the models of a stack need
            not share; all have completed the same number of epochs.

    Returns:
        The exception that ended each run, or None if the run is complete. Times in ``metrics.json`` are the run's
        share: the stack's time divided by the number of its models.

    Raises:
        InputError: if the models cannot be stacked, or another process uses a run directory; nothing has been written
            then.
        Interrupted: on SIGINT and SIGTERM.
    """
    began = time.perf_counter()
    filter_warnings()
    if runs[0].state is not None:
        log.info("the stack resumes after epoch %d", runs[0].state["epoch"] + 1)
    stack = Stack([run.vae for run in runs])
    data = build("data", runs[0].config["data"], ImageDataModule)  # type: ignore[type-abstract]
    data.prepare_data()
    data.setup("fit")
    with ExitStack() as held:
        for run in runs:
            held.enter_context(locked(run.directory))
        for run in runs:
            run.begin_loggers(run.state)
            held.callback(run.end_loggers)
        described = environment()
        for place, run in enumerate(runs):
            stacked = {"stack": {"models": len(runs), "place": place}}
            run.begin(described | stacked, resumes=run.state is not None)
        try:
            logged, fit, seconds = _fit_and_test(stack, data, runs, began)
        except Exception as error:
            for run in runs:
                run.error = run.error or error
        for place, run in enumerate(runs):
            if run.error is None:
                metrics = run.final_metrics(logged[place], fit["step"]) | {
                    "epochs": fit["epochs"],
                    **{f"{name}_seconds": round(value / len(runs), 3) for name, value in seconds.items()},
                }
                run.finish(metrics)
                shown = "   ".join(
                    f"{name} {metrics[name]:.{digits}f}" for name, digits in SHOWN.items() if name in metrics
                )
                log.info("%s   %s", run.directory.name, shown)
    return [run.error for run in runs]


def _fit_and_test(
    stack: Stack, data: ImageDataModule, runs: Sequence[StackedRun], began: float
) -> tuple[list[dict[str, Any]], dict[str, int], dict[str, float]]:
    """Return each run's metrics, the number of epochs and optimiser steps, and the seconds of the fit and in total."""
    fits = [run.finished_fit(run.state) for run in runs]
    record = FitRecord(began, finished=None not in fits)
    trainer = build(
        "trainer",
        runs[0].config["trainer"] | built_parts(runs[0].config["trainer"]),
        pl.Trainer,
        callbacks=[*runs[0].common_callbacks, CallbackViews(runs), record, Interruption()],
        logger=LoggerView(runs),
        plugins=[CheckpointView(stack, runs, record)],
    )
    stacked_data = StackData(data, [run.config["data"]["seed"] for run in runs])
    resumed = None if runs[0].state is None else "the runs' own"
    trainer.fit(stack, datamodule=stacked_data, ckpt_path=resumed, weights_only=True)
    logged = by_run(logged_by_fit(trainer, stack, stacked_data, record), len(runs))
    fit = {"epochs": trainer.current_epoch, "step": trainer.global_step}
    for place, (run, stored) in enumerate(zip(runs, fits, strict=True)):
        if stored is not None:  # only the test was left
            fit, logged[place] = stored, stored["metrics"]
        elif run.error is None:
            run.end_fit({**fit, "metrics": logged[place]})
    trainer.test(stack, datamodule=stacked_data, verbose=False)
    tested = by_run(trainer.callback_metrics, len(runs))
    return [fitted | own for fitted, own in zip(logged, tested, strict=True)], fit, record.seconds
