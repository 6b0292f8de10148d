"""Runs of a sweep trained as one stack; each leaves in its run directory what it would have left alone."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from copy import deepcopy
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint
from lightning.pytorch.loggers import Logger
from torch import Tensor

from vae_lightning.checkpoints import SafeCheckpointIO, checkpoints, read_checkpoint
from vae_lightning.checks import InputError
from vae_lightning.curves import Curves
from vae_lightning.data import ImageDataModule
from vae_lightning.figures import Figures
from vae_lightning.interruption import Interruption
from vae_lightning.probe import LinearProbe
from vae_lightning.processes import local_devices
from vae_lightning.progress import Progress
from vae_lightning.run_directory import CONFIG, claimed, environment, stored_metrics
from vae_lightning.stack import Stack, StackData
from vae_lightning.targets import build, find_class
from vae_lightning.throughput import Throughput
from vae_lightning.trackers import end_trackers
from vae_lightning.train import begin, begin_loggers, build_callbacks, build_model, finish, known_metrics, quiet
from vae_lightning.vae import VAE

__all__ = ["StackedRun", "StackedRuns", "check_stackable", "states", "train_stacked"]

log = logging.getLogger(__name__)

# Callbacks that serve all models of a stack at once; the others are made for each run, and see a Trainer of their own.
COMMON = (LinearProbe, Progress, Throughput)
OWN = (Curves, Figures, ModelCheckpoint)
# Told of each run at its end, with so many digits.
SHOWN = {"val/loss": 2, "probe/val_acc": 4, "test/loss": 2, "probe/test_acc": 4}


def check_stackable(config: Mapping[str, Any]) -> None:
    """Refuse what would not be the same in a stack.

    Raises:
        InputError: with the reason.
    """
    trainer = config["trainer"]
    if local_devices(trainer) > 1 or trainer.get("num_nodes", 1) > 1:
        raise InputError(f"trainer.devices={trainer['devices']}: must be 1 for a stack")
    if str(trainer.get("precision")) in ("16-mixed", "16"):
        raise InputError(f"trainer.precision={trainer['precision']}: would scale all models' losses as one")
    find_class("data._target_", config["data"].get("_target_"), ImageDataModule)  # type: ignore[type-abstract]
    find_class("model._target_", config["model"].get("_target_"), VAE)
    for name, node in config["callbacks"].items():
        if node and find_class(f"callbacks.{name}._target_", node.get("_target_"), pl.Callback) not in COMMON + OWN:
            raise InputError(f"callbacks.{name}._target_={node['_target_']}: is not known to work for a stack's models")


def states(config: Mapping[str, Any]) -> dict[int, Path | None]:
    """The checkpoints from which a run could go on, by the number of epochs that they hold; None is the beginning."""
    run = Path(config["run_dir"])
    found: dict[int, Path | None] = {}
    if (run / CONFIG).exists() and not config["restart"]:
        for path, content in checkpoints(run):
            found.setdefault(content["epoch"] + 1, path)
    # One that has just finished its first epoch may as well begin again, if others of its stack have not.
    return found if found and min(found) > 1 else {0: None, **found}


class StackedRun:
    """What a run has for itself within a stack.

    Arguments:
        config: the run's, every value resolved.
        axes: what varies in the sweep and its value here.
        checkpoint: the one from which it goes on.
    """

    def __init__(self, config: Mapping[str, Any], axes: Mapping[str, Any], checkpoint: Path | None) -> None:
        self.config, self.axes = config, axes
        self.state = None if checkpoint is None else read_checkpoint(checkpoint)
        data = build("data", config["data"], ImageDataModule)  # type: ignore[type-abstract]
        self.vae = build_model(config, data, VAE)
        if self.state is not None:
            weights = self.state["state_dict"]
            self.vae.to(next(iter(weights.values())).dtype).load_state_dict(weights)
        self.callbacks = [one for one in build_callbacks(config).values() if isinstance(one, OWN)]
        self.loggers: dict[str, Logger] = {}
        self.error: Exception | None = None

    def end(self) -> None:
        """End what trackers know of it."""
        end_trackers(self.loggers.values(), failed=stored_metrics(Path(self.config["run_dir"])) is None)


class _OwnTrainer:
    """The stack's Trainer as the callbacks of one run see it: with its metrics, loggers, data and checkpoints."""

    def __init__(self, trainer: pl.Trainer, run: StackedRun, place: int, metrics: dict[str, Tensor]) -> None:
        self._trainer, self._place = trainer, place
        self.loggers, self.callback_metrics = [*run.loggers.values()], metrics

    @property
    def datamodule(self) -> ImageDataModule:
        stacked: StackData = self._trainer.datamodule  # type: ignore[attr-defined]
        return stacked.data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trainer, name)

    def save_checkpoint(self, filepath: Any, weights_only: bool | None = None, storage_options: Any = None) -> None:
        self._trainer.save_checkpoint(filepath, weights_only, storage_options={"place": self._place})


class _OwnLoggers(Logger):
    """Hands each run's metrics to its own loggers."""

    name = version = None

    def __init__(self, runs: Sequence[StackedRun]) -> None:
        super().__init__()
        self.runs = runs

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        for run, own in zip(self.runs, _by_run(metrics, len(self.runs)), strict=True):
            for logger in run.loggers.values() if run.error is None else ():
                logger.log_metrics(own, step)

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """Nothing: a stack has none of its own."""

    def save(self) -> None:
        for run in self.runs:
            for logger in run.loggers.values():
                logger.save()

    def finalize(self, status: str) -> None:
        for run in self.runs:
            for logger in run.loggers.values():
                logger.finalize(status)


def _by_run(metrics: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
    """Split ``3/train/loss`` and the like by the number in front; what has none, such as ``epoch``, is for all."""
    split: list[dict[str, Any]] = [{} for _ in range(count)]
    for name, value in metrics.items():
        place, _, rest = name.partition("/")
        for own in [split[int(place)]] if place.isdecimal() else split:
            own[rest if place.isdecimal() else name] = value
    return split


class _OwnCheckpointIO(SafeCheckpointIO):
    """Saves one run's part of the stack, as if it had been trained alone; loads the stack from the runs' own."""

    def __init__(self, stack: Stack, runs: Sequence[StackedRun]) -> None:
        super().__init__()
        self.stack, self.runs = stack, runs

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        place = storage_options["place"]
        own = self.stack.own_checkpoint(checkpoint, place)
        if "callbacks" in checkpoint:
            states = {callback.state_key: callback.state_dict() for callback in self.runs[place].callbacks}
            own["callbacks"] = {key: state for key, state in states.items() if state}
        super().save_checkpoint(own, path)

    def load_checkpoint(self, *_: Any, **__: Any) -> dict[str, Any]:
        return self.stack.joint_checkpoint([run.state for run in self.runs if run.state is not None])


def _forwarded(hook: str) -> Callable[..., None]:
    def forward(self: "StackedRuns", trainer: pl.Trainer, stack: Stack, **arguments: Any) -> None:
        self._call(hook, trainer, **arguments)

    return forward


class StackedRuns(Checkpoint):
    """Calls the callbacks of each run of a stack as a Trainer of its own would have.

    A run whose model diverges, or whose callbacks fail, is left alone from then on. It is a Checkpoint, so that it
    comes after the stack's own callbacks.

    Arguments:
        runs: in the order of the stack's models.
    """

    def __init__(self, runs: Sequence[StackedRun]) -> None:
        self.runs = runs

    setup, teardown = _forwarded("setup"), _forwarded("teardown")
    on_fit_start, on_fit_end = _forwarded("on_fit_start"), _forwarded("on_fit_end")
    on_train_start, on_train_end = _forwarded("on_train_start"), _forwarded("on_train_end")
    on_train_epoch_start = _forwarded("on_train_epoch_start")
    on_validation_start, on_validation_end = _forwarded("on_validation_start"), _forwarded("on_validation_end")
    on_test_start, on_test_end = _forwarded("on_test_start"), _forwarded("on_test_end")

    def on_train_batch_end(self, trainer: pl.Trainer, stack: Any, *_: Any) -> None:
        for place, why in stack.failures.items():
            self.runs[place].error = self.runs[place].error or FloatingPointError(why)
        if all(run.error for run in self.runs):
            raise FloatingPointError("no run of the stack is left")

    def on_train_epoch_end(self, trainer: pl.Trainer, stack: Any) -> None:
        stack.unstack()
        self._call("on_train_epoch_end", trainer)

    def on_load_checkpoint(self, *_: Any) -> None:
        for run in self.runs:
            for callback in run.callbacks:
                if run.state is not None and callback.state_key in run.state["callbacks"]:
                    callback.load_state_dict(deepcopy(run.state["callbacks"][callback.state_key]))

    def _call(self, hook: str, trainer: pl.Trainer, **arguments: Any) -> None:
        metrics = _by_run(trainer.callback_metrics, len(self.runs))
        for place, run in enumerate(self.runs):
            own_trainer = _OwnTrainer(trainer, run, place, metrics[place])
            try:
                for callback in run.callbacks if run.error is None else ():
                    getattr(callback, hook)(own_trainer, run.vae, **arguments)
            except Exception as error:  # a full disk, a folder that cannot be written: the others go on
                run.error = error


def train_stacked(runs: Sequence[StackedRun]) -> list[Exception | None]:
    """Train, test and probe the models of several runs as one stack; write everything to their run directories.

    Arguments:
        runs: of configurations that differ in what the models of a stack may differ in, and in their seeds; all of the
            same number of epochs so far.

    Returns:
        For each run why it failed, or None if it is complete. Times in ``metrics.json`` are the run's share, the
        stack's divided by the number of its models.

    Raises:
        InputError: if the models cannot be stacked, or another process is at work in a run directory; nothing has been
            written then.
        Interrupted: on SIGINT and SIGTERM.
    """
    began = time.perf_counter()
    quiet()
    if runs[0].state is not None:
        log.info("the stack was cut off: it goes on after epoch %d", runs[0].state["epoch"] + 1)
    stack = Stack([run.vae for run in runs])
    data = build("data", runs[0].config["data"], ImageDataModule)  # type: ignore[type-abstract]
    data.prepare_data()
    data.setup("fit")
    with ExitStack() as held:
        for run in runs:
            held.enter_context(claimed(Path(run.config["run_dir"])))
        for run in runs:
            run.loggers = begin_loggers(run.config, run.state)
            held.callback(run.end)
        described = environment()
        for place, run in enumerate(runs):
            stacked = {"stack": {"models": len(runs), "place": place}}
            begin(run.config, described | stacked, run.loggers, goes_on=run.state is not None)
        try:
            found, seconds = _fit_and_test(stack, data, runs)
        except Exception as error:
            for run in runs:
                run.error = run.error or error
        for place, run in enumerate(runs):
            if run.error is None:
                metrics = known_metrics(found[place], run.callbacks) | {
                    "epochs": run.config["trainer"]["max_epochs"],
                    "fit_seconds": round(seconds / len(runs), 3),
                    "total_seconds": round((time.perf_counter() - began) / len(runs), 3),
                }
                finish(run.config, metrics, run.loggers, run.axes)
                shown = "   ".join(
                    f"{name} {metrics[name]:.{digits}f}" for name, digits in SHOWN.items() if name in metrics
                )
                log.info("%s   %s", Path(run.config["run_dir"]).name, shown)
    return [run.error for run in runs]


def _fit_and_test(
    stack: Stack, data: ImageDataModule, runs: Sequence[StackedRun]
) -> tuple[list[dict[str, Any]], float]:
    """Each run's metrics, and the seconds of the fit."""
    config = runs[0].config
    common = [callback for callback in build_callbacks(config).values() if isinstance(callback, COMMON)]
    trainer = build(
        "trainer",
        config["trainer"],
        pl.Trainer,
        callbacks=[*common, StackedRuns(runs), Interruption()],
        logger=_OwnLoggers(runs),
        plugins=[_OwnCheckpointIO(stack, runs)],
    )
    stacked_data = StackData(data, [run.config["data"]["seed"] for run in runs])
    prepared = time.perf_counter()
    resumed = None if runs[0].state is None else "the runs' own"
    trainer.fit(stack, datamodule=stacked_data, ckpt_path=resumed, weights_only=True)
    fitted = time.perf_counter()
    found = dict(trainer.callback_metrics)
    trainer.test(stack, datamodule=stacked_data, verbose=False)
    return _by_run(found | trainer.callback_metrics, len(runs)), fitted - prepared
