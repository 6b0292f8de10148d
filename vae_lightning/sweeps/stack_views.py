"""Views of a stack's Trainer, loggers, checkpoints and callbacks for each of its runs."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.loggers import Logger
from torch import Tensor

from vae_lightning.callbacks.fit_record import FitRecord
from vae_lightning.data.image_data_module import ImageDataModule
from vae_lightning.data.stack_data import StackData
from vae_lightning.models.stack import Stack
from vae_lightning.models.stack_checkpoints import join_checkpoints, split_checkpoint
from vae_lightning.runs.checkpoints import SafeCheckpointIO
from vae_lightning.sweeps.stacked_run import StackedRun

__all__ = ["CallbackViews", "CheckpointView", "LoggerView", "by_run"]


class _TrainerView:
    """The stack's Trainer as one run's callbacks see it: with the run's metrics, loggers, data and checkpoints."""

    def __init__(self, trainer: pl.Trainer, run: StackedRun, place: int, metrics: dict[str, Tensor]) -> None:
        self._trainer, self._place, self.checkpoint_callbacks = trainer, place, run.own_callbacks
        self.loggers, self.callback_metrics = [*run.loggers.values()], metrics

    @property
    def datamodule(self) -> ImageDataModule:
        stacked: StackData = self._trainer.datamodule  # type: ignore[attr-defined]
        return stacked.data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trainer, name)

    def save_checkpoint(self, filepath: Any, weights_only: bool | None = None, storage_options: Any = None) -> None:
        self._trainer.save_checkpoint(filepath, weights_only, storage_options={"place": self._place})


class LoggerView(Logger):
    """Passes each run's metrics to the run's own loggers."""

    name = version = None

    def __init__(self, runs: Sequence[StackedRun]) -> None:
        super().__init__()
        self.runs = runs

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        for run, own in zip(self.runs, by_run(metrics, len(self.runs)), strict=True):
            for logger in run.loggers.values() if run.error is None else ():
                logger.log_metrics(own, step)

    def log_hyperparams(self, *_: Any, **__: Any) -> None:
        """Do nothing: a stack has no hyperparameters of its own."""

    def save(self) -> None:
        for run in self.runs:
            for logger in run.loggers.values():
                logger.save()

    def finalize(self, status: str) -> None:
        for run in self.runs:
            for logger in run.loggers.values():
                logger.finalize(status)


def by_run(metrics: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
    """Split metrics such as ``3/train/loss`` by their leading index; others, such as ``epoch``, go to all runs."""
    split: list[dict[str, Any]] = [{} for _ in range(count)]
    for name, value in metrics.items():
        place, _, rest = name.partition("/")
        for own in [split[int(place)]] if place.isdecimal() else split:
            own[rest if place.isdecimal() else name] = value
    return split


class CheckpointView(SafeCheckpointIO):
    """Saves one run's part of the stack as if it had trained alone; loads the stack from the runs' checkpoints."""

    def __init__(self, stack: Stack, runs: Sequence[StackedRun], record: FitRecord) -> None:
        super().__init__()
        self.stack, self.runs, self.record = stack, runs, record

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        place = storage_options["place"]
        own = split_checkpoint(self.stack, checkpoint, place)
        if "callbacks" in checkpoint:
            # As the run's own Trainer orders them.
            callbacks = sorted(
                [*self.runs[place].own_callbacks, self.record], key=lambda one: isinstance(one, Checkpoint)
            )
            states = {callback.state_key: callback.state_dict() for callback in callbacks}
            own["callbacks"] = {key: state for key, state in states.items() if state}
        super().save_checkpoint(own, path)

    def load_checkpoint(self, *_: Any, **__: Any) -> dict[str, Any]:
        joint = join_checkpoints(self.stack, [run.state for run in self.runs if run.state is not None])
        first = self.runs[0].state
        assert first is not None
        key = self.record.state_key
        return {**joint, "callbacks": {key: first["callbacks"][key]} if key in first["callbacks"] else {}}


def _forwarded(hook: str) -> Callable[..., None]:
    def forward(self: "CallbackViews", trainer: pl.Trainer, stack: Stack, **arguments: Any) -> None:
        self._call(hook, trainer, **arguments)

    return forward


class CallbackViews(Checkpoint):
    """Calls the callbacks of each run of a stack as the run's own Trainer would.

    A run whose model diverges or whose callbacks fail is skipped from then on. The class is a Checkpoint, so that
    Lightning calls it after the stack's own callbacks.

    Arguments:
        runs: in the order of the stack's models.
    """

    works_in_blocks = True

    def __init__(self, runs: Sequence[StackedRun]) -> None:
        self.runs = runs

    setup, teardown = _forwarded("setup"), _forwarded("teardown")
    on_fit_start, on_fit_end = _forwarded("on_fit_start"), _forwarded("on_fit_end")
    on_train_start, on_train_end = _forwarded("on_train_start"), _forwarded("on_train_end")
    on_train_epoch_start = _forwarded("on_train_epoch_start")
    on_validation_start, on_validation_end = _forwarded("on_validation_start"), _forwarded("on_validation_end")
    on_test_start, on_test_end = _forwarded("on_test_start"), _forwarded("on_test_end")

    def on_train_batch_end(self, trainer: pl.Trainer, stack: Any, *_: Any) -> None:
        self._note_failures(stack)

    def _note_failures(self, stack: Stack) -> None:
        for place, why in stack.failures.items():
            self.runs[place].error = self.runs[place].error or FloatingPointError(why)
        if all(run.error for run in self.runs):
            raise FloatingPointError("every run of the stack has failed")

    def on_train_epoch_end(self, trainer: pl.Trainer, stack: Any) -> None:
        self._note_failures(stack)  # those of the last batch, before a checkpoint stores them
        stack.unstack()
        self._call("on_train_epoch_end", trainer)

    def on_load_checkpoint(self, *_: Any) -> None:
        for run in self.runs:
            for callback in run.own_callbacks:
                if run.state is not None and callback.state_key in run.state["callbacks"]:
                    callback.load_state_dict(deepcopy(run.state["callbacks"][callback.state_key]))

    def _call(self, hook: str, trainer: pl.Trainer, **arguments: Any) -> None:
        metrics = by_run(trainer.callback_metrics, len(self.runs))
        for place, run in enumerate(self.runs):
            own_trainer = _TrainerView(trainer, run, place, metrics[place])
            try:
                for callback in run.own_callbacks if run.error is None else ():
                    getattr(callback, hook)(own_trainer, run.vae, **arguments)
            except Exception as error:  # e.g. a full disk or a read-only folder: the other runs continue
                run.error = error
