"""Views of a stack's Trainer, loggers, checkpoints and callbacks for each of its runs."""

from collections.abc import Callable, Mapping, Sequence
from copy import copy, deepcopy
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint
from lightning.pytorch.loggers import Logger
from torch import Tensor

from vae_lightning.callbacks.fit_record import FitRecord
from vae_lightning.callbacks.new_metrics import new_metrics
from vae_lightning.data.image_data_module import ImageDataModule
from vae_lightning.data.stack_data import StackData
from vae_lightning.models.stack import Stack
from vae_lightning.models.stack_checkpoints import join_checkpoints, split_checkpoint
from vae_lightning.runs.checkpoints import SafeCheckpointIO
from vae_lightning.sweeps.epoch_end import EpochEnd
from vae_lightning.sweeps.stacked_run import StackedRun

__all__ = ["CallbackViews", "CheckpointView", "LoggerView", "by_run"]


class _TrainerView:
    """The stack's Trainer as one run's callbacks see it: with the run's metrics, loggers, data and checkpoints.

    A callback that stops training, by ``should_stop``, stops its own run.
    """

    should_stop = False

    def __init__(self, trainer: pl.Trainer, run: StackedRun, place: int, metrics: dict[str, Tensor]) -> None:
        self._trainer, self._place, self._seed = trainer, place, run.config["data"]["seed"]
        self.callbacks = self.checkpoint_callbacks = run.own_callbacks
        self.loggers, self.callback_metrics = [*run.loggers.values()], metrics
        if run.fit is not None:  # perhaps before others
            self.current_epoch, self.global_step = run.fit["epochs"], run.fit["step"]

    @property
    def datamodule(self) -> ImageDataModule:
        stacked: StackData = self._trainer.datamodule  # type: ignore[attr-defined]
        data = copy(stacked.data)
        data.seed = self._seed
        return data

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
        logged = {name.partition("/")[0] for name in metrics}
        for place, own in enumerate(by_run(metrics, len(self.runs))):
            run = self.runs[place]
            if run.active and str(place) in logged:  # otherwise, it has left the stack
                for logger in run.loggers.values():
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
        run = self.runs[place]
        own = split_checkpoint(self.stack, checkpoint, self.stack.places.index(place))
        if "callbacks" in checkpoint:
            # As the run's own Trainer orders them.
            callbacks = sorted([*run.own_callbacks, self.record], key=lambda one: isinstance(one, Checkpoint))
            states = {callback.state_key: callback.state_dict() for callback in callbacks}
            states[self.record.state_key]["seconds"] = dict(run.seconds)
            own["callbacks"] = {key: state for key, state in states.items() if state}
        if run.restored is not None:
            own["restored"] = run.restored.origin
        super().save_checkpoint(own, path)

    def load_checkpoint(self, *_: Any, **__: Any) -> dict[str, Any]:
        joint = join_checkpoints(self.stack, [run.state for run in self.runs if run.state is not None])
        first = self.runs[0].state
        assert first is not None
        key = self.record.state_key
        return {**joint, "callbacks": {key: first["callbacks"][key]} if key in first["callbacks"] else {}}


def _forwarded(hook: str) -> Callable[..., None]:
    def forward(self: "CallbackViews", trainer: pl.Trainer, stack: Stack, **arguments: Any) -> None:
        self._call(hook, trainer, stack, **arguments)

    return forward


class CallbackViews(Checkpoint):
    """Calls the callbacks of each run of a stack as the run's own Trainer would.

    A run whose model diverges or whose callbacks fail is skipped from then on. At the end of an epoch, runs that have
    ended leave the stack. The class is a Checkpoint, so that Lightning calls it after the stack's own callbacks.

    Arguments:
        runs: in the order of the stack's models.
        record: keeps the time.
        epoch_end: decides what happens at the end of each epoch.

    Attributes:
        paused: whether the fit has ended before its last epoch, for the runs that are left to go on later.
    """

    works_in_blocks = True

    def __init__(self, runs: Sequence[StackedRun], record: FitRecord, epoch_end: EpochEnd) -> None:
        self.runs, self.record, self.epoch_end, self.paused = runs, record, epoch_end, False
        self._earlier_metrics: dict[str, Tensor] = {}
        self._counted = {"fit": 0.0, "total": 0.0}  # seconds that the runs have shared
        self._stopped: set[int] = set()  # runs that had stopped before a kill
        self._left: set[int] = set()  # runs whose fit has ended before that of the stack

    setup, teardown = _forwarded("setup"), _forwarded("teardown")
    on_validation_start, on_validation_end = _forwarded("on_validation_start"), _forwarded("on_validation_end")
    on_test_start, on_test_end = _forwarded("on_test_start"), _forwarded("on_test_end")

    def on_fit_start(self, trainer: pl.Trainer, stack: Any) -> None:
        self._counted = dict(self.record.earlier)
        self._stopped = self._call("on_fit_start", trainer, stack)

    def on_train_start(self, trainer: pl.Trainer, stack: Any) -> None:
        self._call("on_train_start", trainer, stack)
        if not trainer.should_stop:
            for place in self._stopped:
                self._leave(trainer, stack, place, trainer.current_epoch, pruned=False)
            self._keep(trainer, stack)

    def on_train_epoch_start(self, trainer: pl.Trainer, stack: Any) -> None:
        self._earlier_metrics = dict(trainer.callback_metrics)
        self._call("on_train_epoch_start", trainer, stack)

    def on_train_batch_end(self, trainer: pl.Trainer, stack: Any, *_: Any) -> None:
        self._note_failures(stack)

    def _note_failures(self, stack: Stack) -> None:
        for place, why in stack.failures.items():
            self.runs[place].error = self.runs[place].error or FloatingPointError(why)
        if all(self.runs[place].error for place in stack.places):
            raise FloatingPointError("every run of the stack has failed")

    def on_train_epoch_end(self, trainer: pl.Trainer, stack: Any) -> None:
        self._note_failures(stack)  # those of the last batch, before a checkpoint stores them
        stack.unstack()
        # Before the checkpoints: a verdict on an epoch that a killed stack repeats is known already.
        new = new_metrics(trainer.callback_metrics, self._earlier_metrics)
        pruned = self.epoch_end.pruned(trainer.current_epoch + 1, by_run(new, len(self.runs)))
        self.share_seconds(stack.places)
        stopped = self._call("on_train_epoch_end", trainer, stack)
        last = trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs
        for place in [] if last else [place for place in stack.places if place in pruned or place in stopped]:
            self._leave(trainer, stack, place, trainer.current_epoch + 1, place in pruned)
        if not last:
            left = self._keep(trainer, stack)
            self.paused = left > 0 and not self.epoch_end.goes_on(trainer.current_epoch + 1, left)
            trainer.should_stop = trainer.should_stop or self.paused

    def _keep(self, trainer: pl.Trainer, stack: Stack) -> int:
        """Let the runs that have ended leave the stack; return the number of those left."""
        kept = [k for k, place in enumerate(stack.places) if self.runs[place].active and self.runs[place].fit is None]
        if not kept:
            trainer.should_stop = True
        elif len(kept) < len(stack.places):
            stack.keep(kept)
            trainer.datamodule.keep(kept)  # type: ignore[attr-defined]
        return len(kept)

    def _leave(self, trainer: pl.Trainer, stack: Stack, place: int, epochs: int, pruned: bool) -> None:
        """End the fit of one run before that of others, because it stops or is pruned after a number of epochs."""
        run = self.runs[place]
        self._left.add(place)
        for hook in ("on_train_end", "on_fit_end"):
            self._call(hook, trainer, stack, [place])
        if run.error is None and pruned:
            run.prune(epochs, run.seconds["total"])
        elif run.error is None:
            metrics = by_run(trainer.callback_metrics, len(self.runs))[place]
            logged = {name: float(value) for name, value in metrics.items() if "/" in name}
            self.end_fit(trainer, place, {"epochs": epochs, "step": trainer.global_step, "metrics": logged})

    def end_fit(self, trainer: pl.Trainer, place: int, fit: dict[str, Any]) -> None:
        """Store the end of a run's fit, and the weights of an earlier epoch if its callbacks have put them back.

        Arguments:
            trainer: the stack's Trainer.
            place: the run's place.
            fit: its epochs, its optimiser steps and its metrics.
        """
        run = self.runs[place]
        if run.restored is not None:
            fit = {**fit, "metrics": run.restored.best["metrics"]}
        run.end_fit(fit)
        self.save_restored(trainer, place)

    def save_restored(self, trainer: pl.Trainer, place: int) -> None:
        """Save the last checkpoint of a run again, if its callbacks have put the weights of an earlier epoch back."""
        run = self.runs[place]
        assert run.fit is not None
        if run.restored is None or run.restored.origin["step"] == run.fit["step"]:
            return
        view = _TrainerView(trainer, run, place, {})
        for callback in run.own_callbacks:
            if isinstance(callback, ModelCheckpoint) and callback.filename == "last":
                view.save_checkpoint(callback.format_checkpoint_name({}))

    def on_train_end(self, trainer: pl.Trainer, stack: Any) -> None:
        self._call("on_train_end", trainer, stack, self._ending(stack))

    def on_fit_end(self, trainer: pl.Trainer, stack: Any) -> None:
        self._call("on_fit_end", trainer, stack, self._ending(stack))

    def _ending(self, stack: Stack) -> list[int]:
        """Return the places of the runs whose fit ends with the stack's."""
        return [] if self.paused else [place for place in stack.places if place not in self._left]

    def on_load_checkpoint(self, *_: Any) -> None:
        for run in self.runs:
            states = {} if run.state is None else run.state["callbacks"]
            for callback in run.own_callbacks:
                if callback.state_key in states:
                    callback.load_state_dict(deepcopy(states[callback.state_key]))
            if self.record.state_key in states:
                run.seconds = dict(states[self.record.state_key]["seconds"])

    def share_seconds(self, places: Sequence[int]) -> None:
        """Share the time since the last call among runs."""
        now = self.record.seconds
        for name, seconds in now.items():
            for place in places:
                self.runs[place].seconds[name] += (seconds - self._counted[name]) / len(places)
        self._counted = now

    def _call(
        self, hook: str, trainer: pl.Trainer, stack: Stack, places: Sequence[int] | None = None, **arguments: Any
    ) -> set[int]:
        """Call a hook of the callbacks of runs in the stack; return the places of those that stop."""
        metrics, stopped = by_run(trainer.callback_metrics, len(self.runs)), set()
        for place in stack.places if places is None else places:
            run = self.runs[place]
            own_trainer = _TrainerView(trainer, run, place, metrics[place])
            run.vae.log_dict = _logged_by(stack, place, metrics[place])  # type: ignore[method-assign]
            try:
                for callback in run.own_callbacks if run.active else ():
                    getattr(callback, hook)(own_trainer, run.vae, **arguments)
            except Exception as error:  # e.g. a full disk or a read-only folder: the other runs continue
                run.error = error
            finally:
                del run.vae.log_dict
            if own_trainer.should_stop and run.active:
                stopped.add(place)
        return stopped


def _logged_by(stack: Stack, place: int, metrics: dict[str, Tensor]) -> Callable[..., None]:
    """Return the ``log_dict`` of one run's model, which has no Trainer: the stack logs for it.

    Arguments:
        stack: the stack.
        place: the run's place.
        metrics: what the run's callbacks see as the Trainer's metrics, to which those logged are added.
    """

    def log_dict(values: Mapping[str, Tensor], **options: Any) -> None:
        metrics.update(values)
        stack.log_dict({f"{place}/{name}": value for name, value in values.items()}, **options)

    return log_dict
