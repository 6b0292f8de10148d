"""A clean stop on SIGTERM and Ctrl-C."""

import logging
import signal
import threading
from types import FrameType
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from vae_lightning.signals import SIGNALS, Interrupted

__all__ = ["Interrupted", "Interruption"]

log = logging.getLogger(__name__)


class Interruption(Callback):
    """Stops training after the step in which SIGINT or SIGTERM arrives; a second signal stops it immediately.

    Outside a step, the first signal takes effect before the next step, batch or stage: stopping anywhere else could
    leave the locks of other threads, such as TensorBoard's writer, in an inconsistent state. Only the current epoch is
    lost: the checkpoint, the curves and metrics.csv of the previous epoch are on disk.

    Raises:
        Interrupted: from ``Trainer.fit`` or ``Trainer.test``.
    """

    works_in_blocks = True

    def __init__(self) -> None:
        self._received: int | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Not earlier: Lightning would replace these handlers. Only a process's main thread receives signals.
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                signal.signal(number, self._handle)

    on_test_start = on_train_start

    def on_train_batch_end(self, *_: Any, **__: Any) -> None:
        if self._received is not None:
            raise Interrupted(self._received)

    on_train_batch_start = on_validation_batch_start = on_test_batch_start = teardown = on_train_batch_end

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._received is not None:
            raise Interrupted(number)
        self._received = number
        log.warning("%s: stopping after this step", signal.strsignal(number))
