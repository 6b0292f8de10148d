"""Early stopping that waits for warm-ups, and the best weights at the end."""

import logging
import math
from collections.abc import Mapping
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from vae_lightning.callbacks.new_metrics import new_metrics
from vae_lightning.config.arguments import checked
from vae_lightning.posteriors.posterior import Posterior
from vae_lightning.schedules.schedule import Schedule

__all__ = ["EarlyStopping", "position", "restored"]

log = logging.getLogger(__name__)


class EarlyStopping(Callback):
    """Stops training when a metric no longer improves; on request, puts the weights of the best epoch back.

    An epoch counts if it logs a new value of the metric and its last step belongs to no warm-up of the objective, the
    learning rate or the posterior (:meth:`vae_lightning.schedules.Schedule.warms_up`), because values under a growing
    weight cannot be compared with later ones. Of a cyclical weight, the epochs count that end while it is at its
    maximum. The epochs in between use up no patience, and none of them is the best.

    The state is part of every checkpoint, and so are the best weights: a run that resumes stops at the same epoch, with
    the same weights. A run that has stopped stays so if it is given more epochs, as if it had had them from the start.
    A checkpoint that is saved after the end of the fit holds the best weights; training that resumes from it continues
    from the last ones.

    Arguments:
        monitor: name of the metric. Put the callback after the one that logs it.
        mode: ``"min"`` if a lower value is better, ``"max"`` if a higher one is.
        patience: number of epochs that count, one after another, without an improvement, after which training stops.
        min_delta: an improvement is a change by more than this, in the metric's unit, since the last improvement. The
            best epoch is the best, by however little.
        restore_best: whether the model has the weights of the best epoch when the fit ends, whatever has ended it. Not
            with a callback that averages weights, since the metric is that of the average.

    Attributes:
        best: of the best epoch so far: ``epoch``, counted from 1, ``step``, the number of optimiser steps, ``value``,
            the monitored metric, ``metrics``, all metrics that the epoch logged, and ``validated``, whether those of
            validation are of its last weights; empty if no epoch has counted.
        stopped: the epoch at which training stopped, counted from 1; 0 if it has not.
        restored: whether the model has the best weights instead of the last ones.

    Raises:
        InputError: if an argument breaks its rule (:mod:`vae_lightning.callbacks.rules`).
    """

    @checked
    def __init__(
        self,
        monitor: str = "val/loss",
        mode: str = "min",
        patience: int = 5,
        min_delta: float = 0.0,
        restore_best: bool = False,
    ) -> None:
        self.monitor, self.mode, self.patience = monitor, mode, patience
        self.min_delta, self.restore_best = min_delta, restore_best
        self.best: dict[str, Any] = {}
        self.stopped, self.restored = 0, False
        self._reference, self._waited = -math.inf, 0  # the score at the last improvement, the epochs since
        self._other: dict[str, Any] = {}  # step and weights: the best ones, or the last ones while the model has those
        self._max_epochs: int | None = None
        self._validated_step = -1
        self._earlier_metrics: Mapping[str, Tensor] = {}

    def state_dict(self) -> dict[str, Any]:
        return {
            "best": self.best,
            "stopped": self.stopped,
            "restored": self.restored,
            "reference": self._reference,
            "waited": self._waited,
            "other": self._other,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best, self.stopped, self.restored = (state_dict[name] for name in ("best", "stopped", "restored"))
        self._reference, self._waited, self._other = (state_dict[name] for name in ("reference", "waited", "other"))

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.restored:
            self._exchange(pl_module, self.best["step"])
        if self.stopped:
            trainer.should_stop = True
            self._log_stop(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._earlier_metrics = dict(trainer.callback_metrics)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._validated_step = trainer.global_step

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        logged = new_metrics(trainer.callback_metrics, self._earlier_metrics)
        new = {name: float(value) for name, value in logged.items()}
        if self.monitor in new and not _warms_up(pl_module, trainer.global_step - 1):
            self._count(trainer, pl_module, new)
        if self.stopped:  # trainer.min_epochs may ask for more
            self.stopped = trainer.current_epoch + 1

    def _count(self, trainer: Trainer, model: LightningModule, metrics: dict[str, float]) -> None:
        score = self._score(metrics[self.monitor])
        best = self._score(self.best["value"]) if self.best else -math.inf
        # All processes must agree, even on a metric that is not synchronised.
        if trainer.strategy.reduce_boolean_decision(score > best, all=False):
            self.best = {
                "epoch": trainer.current_epoch + 1,
                "step": trainer.global_step,
                "value": metrics[self.monitor],
                "metrics": {name: value for name, value in metrics.items() if "/" in name},
                "validated": self._validated_step == trainer.global_step,
            }
            if self.restore_best:
                self._other = {"step": trainer.global_step, "weights": _weights(model)}
        if score - self._reference > self.min_delta:
            self._reference, self._waited = score, 0
        else:
            self._waited += 1
        exhausted = trainer.strategy.reduce_boolean_decision(self._waited >= self.patience, all=False)
        if exhausted and not self.stopped:
            self.stopped = trainer.current_epoch + 1
            trainer.should_stop = True
            self._log_stop(trainer)

    def _score(self, value: float) -> float:
        return value if self.mode == "max" else -value

    def _log_stop(self, trainer: Trainer) -> None:
        if trainer.is_global_zero:
            log.info(
                "training stops after epoch %d, because %s has not improved in %d epochs; best epoch %s",
                self.stopped,
                self.monitor,
                self._waited,
                f"{self.best['epoch']} ({self.monitor} {self.best['value']:.6g})" if self.best else "none",
            )

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._max_epochs = trainer.max_epochs
        if not self.best and trainer.is_global_zero:
            log.warning("early stopping had no effect, because no epoch after the warm-ups logged %s", self.monitor)
        if self._other:
            self._exchange(pl_module, trainer.global_step)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if self.restored:
            checkpoint["restored"] = self.origin

    def _exchange(self, model: LightningModule, step: int) -> None:
        """Exchange the model's weights, which it had after a given number of steps, and the other ones."""
        other, self._other = self._other, {"step": step, "weights": _weights(model)}
        model.load_state_dict(other["weights"])
        if isinstance(posterior := getattr(model, "posterior", None), Posterior):
            posterior.step = other["step"]
        self.restored = not self.restored

    @property
    def origin(self) -> dict[str, int]:
        """The epoch and the optimiser step of the best weights."""
        return {name: self.best[name] for name in ("epoch", "step")}

    @property
    def outcome(self) -> dict[str, float]:
        """What ``metrics.json`` says of the end of the fit."""
        found: dict[str, float] = {}
        if self.stopped:
            found = {"stopped/epoch": self.stopped}
            if self._max_epochs not in (None, -1):
                found["stopped/max_epochs"] = self._max_epochs
            if self.best:
                found |= {"stopped/best/epoch": self.best["epoch"], f"stopped/best/{self.monitor}": self.best["value"]}
        return found | ({"restored/epoch": self.best["epoch"]} if self.restored else {})


def restored(trainer: Trainer) -> EarlyStopping | None:
    """Return the callback that has put the weights of an earlier epoch back, if one has."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return next((each for each in callbacks if isinstance(each, EarlyStopping) and each.restored), None)


def position(trainer: Trainer) -> tuple[int, int]:
    """Return the epochs and the optimiser steps after which the model had the weights that it has."""
    earlier = restored(trainer)
    if earlier is None:
        return trainer.current_epoch, trainer.global_step
    return earlier.best["epoch"], earlier.best["step"]


def _weights(model: LightningModule) -> dict[str, Tensor]:
    return {name: weight.detach().to("cpu", copy=True) for name, weight in model.state_dict().items()}


def _warms_up(model: LightningModule, step: int) -> bool:
    """Return whether a schedule of a model, of its objective or of its posterior is in a warm-up."""
    owners = (model, getattr(model, "objective", None), getattr(model, "posterior", None))
    schedules = [getattr(owner, "schedule", None) for owner in owners]
    return any(isinstance(schedule, Schedule) and schedule.warms_up(step) for schedule in schedules)
