"""SIGTERM and Ctrl-C: the step in progress is finished, and the run left so that it can go on."""

import logging
import signal
import threading
from types import FrameType
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

__all__ = ["Interrupted", "Interruption"]

log = logging.getLogger(__name__)


class Interrupted(SystemExit):
    """Ends the process as a shell expects it of a signal: 130 for SIGINT, 143 for SIGTERM."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(128 + signal_number)


class Interruption(Callback):
    """Leaves after the step in which SIGINT or SIGTERM came; a second one leaves at once.

    Outside of a step the first one is heeded before the next step, batch or stage: to leave in the midst of anything
    would leave locks of other threads, such as TensorBoard's writer, in disorder. What is lost is the epoch that was
    begun: the last one's checkpoint, curves and metrics.csv are on disk.

    Raises:
        Interrupted: out of ``Trainer.fit`` or ``Trainer.test``.
    """

    def __init__(self) -> None:
        self._received: int | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Not before: Lightning would put its own in their place. Only a process's main thread is told of signals.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
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
        log.warning(
            "%s: leaving after this step; the same command goes on from the last epoch", signal.strsignal(number)
        )
