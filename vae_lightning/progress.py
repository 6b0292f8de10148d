"""What a terminal shows while something takes long."""

import math
import os
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ProgressBar
from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

__all__ = ["Progress", "progress_bar"]


@contextmanager
def progress_bar(total: float, description: str, shown: bool = True, initial: int = 0) -> Iterator["tqdm[Any]"]:
    """A bar with the time left, on a terminal alone; it is gone when the block ends. Log lines appear above it.

    Within the block of another it takes that one's place.

    Arguments:
        total: how many steps there are; infinite if that is not known.
        description: stands before the bar.
        shown: without it nothing is.
        initial: steps that were made earlier.
    """
    shown = shown and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    with ExitStack() as within:
        if shown:
            within.enter_context(logging_redirect_tqdm())
        yield within.enter_context(
            tqdm(
                total=total,
                desc=description,
                initial=initial,
                file=sys.stdout,
                leave=False,
                position=0,
                disable=not shown,
                dynamic_ncols=True,
                bar_format="{desc} {percentage:3.0f}%|{bar}| {elapsed}, {remaining} left{postfix}",
            )
        )


class Progress(ProgressBar):
    """One bar for all epochs with the loss and the time left, on a terminal alone; a line an epoch everywhere.

    Arguments:
        refresh_rate: batches (or blocks) between two updates of the bar.
    """

    def __init__(self, refresh_rate: int = 1) -> None:
        super().__init__()
        self.refresh_rate = refresh_rate

    def disable(self) -> None:
        """Nothing: only the first of several processes shows anything in any case."""

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
        # Lightning keeps them beside this epoch's, which are new tensors.
        self._earlier = dict(trainer.callback_metrics)
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
            for name in ("train/loss", "val/loss"):
                # Of a stack each model has its own, 0/train/loss and so on.
                losses = [
                    float(loss)
                    for key, loss in trainer.callback_metrics.items()
                    if f"/{key}".endswith(f"/{name}") and loss is not self._earlier.get(key)
                ]
                losses = [loss for loss in losses if math.isfinite(loss)]
                if losses:
                    several = f" to {max(losses):.2f}" if len(losses) > 1 else ""
                    shown.append(f"{name} {min(losses):.2f}{several}")
            shown.append(f"{time.perf_counter() - self._began:.1f} s")
            tqdm.write("   ".join(shown), file=sys.stdout)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._bar.close()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        if hasattr(self, "_bar"):  # it may come before training
            self._bar.close()


def _epochs(trainer: Trainer) -> int | None:
    """How many there will be; None if only something else will end them."""
    return None if trainer.max_epochs in (None, -1) else trainer.max_epochs
