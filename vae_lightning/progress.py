"""What a terminal shows while a model trains."""

import math
import sys
import time
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm

__all__ = ["Progress"]


class Progress(TQDMProgressBar):
    """Lightning's bar of the epoch, on a terminal alone, and a line an epoch, also in a pipe or a file.

    Arguments:
        refresh_rate: batches (or blocks) between two updates of the bar.
    """

    def __init__(self, refresh_rate: int = 1) -> None:
        super().__init__(refresh_rate=refresh_rate if sys.stdout.isatty() else 0)

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        return {name: value for name, value in super().get_metrics(trainer, pl_module).items() if name != "v_num"}

    # Validation and test are over before a bar of theirs could be read.

    def init_validation_tqdm(self) -> Tqdm:
        return Tqdm(disable=True)

    def init_test_tqdm(self) -> Tqdm:
        return Tqdm(disable=True)

    def on_train_epoch_start(self, trainer: Trainer, *args: Any) -> None:
        super().on_train_epoch_start(trainer, *args)
        self.train_progress_bar.set_description(self._title(trainer))
        self._began = time.perf_counter()

    @staticmethod
    def _title(trainer: Trainer) -> str:
        return f"epoch {trainer.current_epoch + 1:>{len(str(trainer.max_epochs))}}/{trainer.max_epochs}"

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_train_epoch_end(trainer, pl_module)
        if trainer.is_global_zero:
            shown = [self._title(trainer)]
            for name in ("train/loss", "val/loss"):
                # Of a stack each model has its own, 0/train/loss and so on.
                losses = [
                    float(loss) for key, loss in trainer.callback_metrics.items() if f"/{key}".endswith(f"/{name}")
                ]
                losses = [loss for loss in losses if math.isfinite(loss)]
                if losses:
                    several = f" to {max(losses):.2f}" if len(losses) > 1 else ""
                    shown.append(f"{name} {min(losses):.2f}{several}")
            shown.append(f"{time.perf_counter() - self._began:.1f} s")
            Tqdm.write("   ".join(shown), file=sys.stdout)
