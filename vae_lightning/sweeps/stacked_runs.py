"""Train the runs of a sweep as one stack."""

import logging
import time
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from vae_lightning.callbacks.fit_record import FitRecord
from vae_lightning.callbacks.gradient_statistics import GradientStatistics
from vae_lightning.callbacks.interruption import Interruption
from vae_lightning.config.errors import InputError
from vae_lightning.config.targets import build
from vae_lightning.data.image_data_module import ImageDataModule
from vae_lightning.data.stack_data import StackData
from vae_lightning.matmul_precision import matmul_precision
from vae_lightning.models.stack import Stack
from vae_lightning.reports.levels import shortened
from vae_lightning.runs.directory import locked
from vae_lightning.runs.environment import environment
from vae_lightning.runs.fitting import logged_by_fit
from vae_lightning.runs.trainers import build_trainer, chosen_matmul_precision, compile_step
from vae_lightning.runs.warnings import filter_warnings
from vae_lightning.sweeps.epoch_end import EpochEnd
from vae_lightning.sweeps.stack_views import CallbackViews, CheckpointView, LoggerView, by_run
from vae_lightning.sweeps.stacked_run import StackedRun

__all__ = ["Paused", "train_stacked"]

log = logging.getLogger(__name__)

# The metrics that are logged at the end of each run, with their number of decimals; none of test, which the sweep shows
# for the chosen configuration alone.
SHOWN = {"train/loss": 2, "val/loss": 2, "probe/val_acc": 4}


class Paused(Exception):  # noqa: N818  # no error: the run goes on
    """The fit of a run has been interrupted after an epoch, to go on later from its checkpoint."""


def train_stacked(runs: Sequence[StackedRun], epoch_end: EpochEnd | None = None) -> list[Exception | None]:
    """Train, test and probe the models of several runs as one stack; write everything to their run directories.

    Arguments:
        runs: runs whose configurations differ only in their seeds and in the options that the models of a stack need
            not share; all have completed the same number of epochs.
        epoch_end: decides at the end of each epoch which runs are pruned, and whether the others go on; if None, all
            train to their end.

    Returns:
        The exception that ended each run, or None if the run is complete or pruned. Times in ``metrics.json`` are the
        run's share: the time of each epoch, and of the test, divided by the number of models in the stack.

    Raises:
        InputError: if the models cannot be stacked, or another process uses a run directory; nothing has been written
            then.
        Interrupted: on SIGINT and SIGTERM.
    """
    began = time.perf_counter()
    filter_warnings()
    if runs[0].state is not None:
        log.info("the stack resumes after epoch %d", runs[0].state["epoch"] + 1)
    for run in runs:
        run.fit = run.finished_fit(run.state)
    for callback in runs[0].own_callbacks:
        if isinstance(callback, GradientStatistics):
            callback.announce(runs[0].vae)
    if len({run.fit is None for run in runs}) > 1:
        raise InputError(f"{runs[0].directory}: some fits of this stack have ended, and others have not")
    stack = Stack([run.vae for run in runs])
    data = build("data", runs[0].config["data"], ImageDataModule)  # type: ignore[type-abstract]
    data.prepare_data()
    data.setup("fit")
    config, resumed = runs[0].config, None if runs[0].state is None else runs[0].directory
    rows = config["data"]["batch_size"] * stack.objective.samples
    precision = chosen_matmul_precision(config["trainer"], stack, rows, len(runs), resumed)
    with ExitStack() as held:
        held.enter_context(matmul_precision(precision))
        for run in runs:
            held.enter_context(locked(run.directory))
        for run in runs:
            run.begin_loggers(run.state)
            held.callback(run.end_loggers)
        described = environment() | {"matmul_precision": precision}
        for place, run in enumerate(runs):
            stacked = {"stack": {"models": len(runs), "place": place}}
            run.begin(described | stacked, resumes=run.state is not None)
        try:
            tested = _fit_and_test(stack, data, runs, began, epoch_end or EpochEnd())
        except Exception as error:
            for run in runs:
                run.error = run.error or error
        for place, run in enumerate(runs):
            if run.active:
                assert run.fit is not None
                metrics = run.final_metrics(run.fit["metrics"] | tested[place], run.fit["step"]) | {
                    "epochs": run.fit["epochs"],
                    **{f"{name}_seconds": round(seconds, 3) for name, seconds in run.seconds.items()},
                }
                run.finish(metrics)
                shown = "   ".join(
                    f"{name} {metrics[name]:.{digits}f}" for name, digits in SHOWN.items() if name in metrics
                )
                log.info("%s   %s", shortened(run.directory.name), shown)
    return [run.error for run in runs]


def _fit_and_test(
    stack: Stack, data: ImageDataModule, runs: Sequence[StackedRun], began: float, epoch_end: EpochEnd
) -> list[dict[str, Any]]:
    """Return each run's metrics of the test."""
    record = FitRecord(began, finished=all(run.fit for run in runs))
    views = CallbackViews(runs, record, epoch_end)
    checkpoints = CheckpointView(stack, runs, record)
    trainer = build_trainer(
        runs[0].config["trainer"],
        callbacks=[*runs[0].common_callbacks, views, record, Interruption()],
        logger=LoggerView(runs),
        plugins=[checkpoints],
    )
    if runs[0].config.get("compile"):
        compile_step(runs[0].config["compile"], stack, trainer)
    seeds = [run.config["data"]["seed"] for run in runs]
    stacked_data = StackData(data, seeds)
    resumed = None if runs[0].state is None else "the runs' own"
    try:
        trainer.fit(stack, datamodule=stacked_data, ckpt_path=resumed, weights_only=True)
    except FloatingPointError:
        if not any(run.active for run in runs):
            raise  # otherwise, there are runs that had left the stack before
    if views.paused:
        for place in stack.places:
            runs[place].error = runs[place].error or Paused()
    elif ending := [place for place in stack.places if runs[place].active and runs[place].fit is None]:
        logged = by_run(logged_by_fit(trainer, stack, stacked_data, record), len(runs))
        for place in ending:
            if runs[place].active:
                fit = {"epochs": trainer.current_epoch, "step": trainer.global_step, "metrics": logged[place]}
                views.end_fit(trainer, place, fit)
    else:  # only the test was left, unless a kill came before the last checkpoint was saved again
        for place in stack.places:
            if runs[place].active and "restored" not in (runs[place].state or {}):
                views.save_restored(trainer, place)
    views.share_seconds(stack.places)
    tested = [place for place, run in enumerate(runs) if run.active]
    if not tested:
        return [{} for _ in runs]
    if tested != stack.places or any(runs[place].restored for place in tested):
        stack = checkpoints.stack = Stack([runs[place].vae for place in tested])
        stack.places = tested
        stacked_data = StackData(data, [seeds[place] for place in tested])
    trainer.test(stack, datamodule=stacked_data, verbose=False)
    views.share_seconds(tested)
    return by_run(trainer.callback_metrics, len(runs))
