"""Progress on the terminal, and in the log of the run."""

import logging
import math
import sys
import time
from contextlib import ExitStack
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from tqdm import tqdm

from vae_lightning.callbacks.new_metrics import new_metrics
from vae_lightning.config.arguments import checked
from vae_lightning.progress_bar import progress_bar
from vae_lightning.wrapping import fitted

__all__ = ["Progress"]

# The lines of epochs, which the terminal has in any case. conf/hydra/job_logging sends them to train.log.
log = logging.getLogger(__name__)
log.propagate = False


class Progress(ProgressBar):
    """Shows the progress of training.

    A terminal shows one bar for all epochs, with the loss and the time left. One line per epoch is printed in any case,
    and stands in the run's ``train.log``.

    Arguments:
        refresh_rate: batches (or blocks) between two updates of the bar.

    Raises:
        InputError: if it breaks its rule (:mod:`vae_lightning.callbacks.rules`).
    """

    @checked
    def __init__(self, refresh_rate: int = 1) -> None:
        super().__init__()
        self.refresh_rate = refresh_rate

    def disable(self) -> None:
        """Do nothing: only the first of several processes shows anything in any case."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._bar = ExitStack()
        blocks = trainer.num_training_batches
        self._shown = self._bar.enter_context(
            progress_bar(
                blocks * (_epochs(trainer) or math.inf),
                self._title(trainer),
                shown=trainer.is_global_zero,
                initial=int(blocks * trainer.current_epoch) if trainer.current_epoch else 0,
            )
        )

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._earlier_metrics = dict(trainer.callback_metrics)
        self._shown.set_description_str(self._title(trainer))
        self._began = time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        done = batch_idx + 1
        if not self._shown.disable and (done % self.refresh_rate == 0 or trainer.is_last_batch):
            loss = trainer.progress_bar_metrics.get("loss")
            self._shown.set_postfix_str("" if loss is None else f"loss {loss:.2f}", refresh=False)
            self._shown.update(done % self.refresh_rate or self.refresh_rate)

    @staticmethod
    def _title(trainer: Trainer) -> str:
        epoch, epochs = trainer.current_epoch + 1, _epochs(trainer)
        return f"epoch {epoch}" if epochs is None else f"epoch {epoch:>{len(str(epochs))}}/{epochs}"

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            shown = [self._title(trainer)]
            new = new_metrics(trainer.callback_metrics, self._earlier_metrics)
            for name in ("train/loss", "val/loss"):
                # Each model of a stack has its own loss: 0/train/loss and so on.
                losses = [float(loss) for key, loss in new.items() if f"/{key}".endswith(f"/{name}")]
                losses = [loss for loss in losses if math.isfinite(loss)]
                if losses:
                    several = f" to {max(losses):.2f}" if len(losses) > 1 else ""
                    shown.append(f"{name} {min(losses):.2f}{several}")
            shown.append(f"{time.perf_counter() - self._began:.1f} s")
            line = "   ".join(shown)
            tqdm.write(fitted(line, sys.stdout), file=sys.stdout)
            log.info("%s", line)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._bar.close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if hasattr(self, "_bar"):  # the exception may come before training starts
            self._bar.close()


def _epochs(trainer: Trainer) -> int | None:
    """Return the number of epochs; None if something other than ``max_epochs`` ends training."""
    return None if trainer.max_epochs in (None, -1) else trainer.max_epochs
