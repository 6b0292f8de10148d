"""Reports of a run's objective after every epoch."""

from collections.abc import Callable

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from vae_lightning.callbacks.new_metrics import new_metrics

__all__ = ["ObjectiveReport"]


class ObjectiveReport(Callback):
    """Reports a metric after every epoch in which it is logged, and stops training if the run is pruned.

    A run that has trained its last epoch is complete, whatever the verdict.

    Arguments:
        metric: the metric's name.
        report: is called in the first process with the number of epochs and the value; returns whether the run is
            pruned.

    Attributes:
        pruned: the number of epochs after which the run has been pruned; None otherwise.
    """

    works_in_blocks = True

    def __init__(self, metric: str, report: Callable[[int, float], bool]) -> None:
        self.metric, self.report = metric, report
        self.pruned: int | None = None
        self._earlier_metrics: dict[str, Tensor] = {}

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._earlier_metrics = dict(trainer.callback_metrics)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        value = new_metrics(trainer.callback_metrics, self._earlier_metrics).get(self.metric)
        if value is None:
            return
        epoch = trainer.current_epoch + 1
        pruned = trainer.is_global_zero and self.report(epoch, float(value))
        if trainer.strategy.broadcast(pruned) and not trainer.should_stop and epoch != trainer.max_epochs:
            trainer.should_stop = True
            self.pruned = epoch
