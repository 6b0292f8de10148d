"""The end of a fit: validation of the final weights, which weights were saved, and how long it took."""

import logging
import time
import zlib
from collections.abc import Iterable
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

__all__ = ["FitRecord", "digest"]

log = logging.getLogger(__name__)


class FitRecord(Callback):
    """Validates the final weights, and records what a run must know to report no numbers of other weights.

    Its times are part of every checkpoint, so those of a resumed run count the whole run. Put it after callbacks that
    exchange the weights, such as Lightning's WeightAveraging.

    Arguments:
        began: when the command began, by ``time.perf_counter()``.
        finished: whether the run's fit has ended already; it then takes no further steps.

    Attributes:
        earlier: the seconds of the fit and of the whole run before this command.
        validated: the digest of the weights that were validated last; None before.
        saved: the digest of the weights in the last checkpoint, saved or loaded; None before.
    """

    works_in_blocks = True

    def __init__(self, began: float, finished: bool = False) -> None:
        self._began, self._fit_began, self._finished = began, 0.0, finished
        self.earlier = {"fit": 0.0, "total": 0.0}
        self.validated: int | None = None
        self.saved: int | None = None
        self._epochs: int | None = None  # of the checkpoint from which the run resumes, until it trains

    @property
    def seconds(self) -> dict[str, float]:
        """The seconds of the fit and of the whole run until now."""
        now = time.perf_counter()
        fit = now - self._fit_began if self._fit_began else 0.0
        return {"fit": self.earlier["fit"] + fit, "total": self.earlier["total"] + now - self._began}

    def state_dict(self) -> dict[str, Any]:
        return {"seconds": self.seconds, "validated": self.validated}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.earlier, self.validated = dict(state_dict["seconds"]), state_dict["validated"]

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._fit_began = time.perf_counter()
        trainer.should_stop = trainer.should_stop or self._finished  # EarlyStopping may know that training has stopped

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self._epochs, self.saved = checkpoint["epoch"] + 1, digest(checkpoint["state_dict"].values())

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._epochs = None

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._epochs is not None:  # nothing was left to train; Lightning does not count an epoch that ended early
            trainer.fit_loop.epoch_progress.current.completed = self._epochs
        self.earlier["fit"], self._fit_began = self.seconds["fit"], 0.0

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        # Lightning logs it at a level that the run's log leaves out.
        if profile := trainer.profiler.summary():  # type: ignore[attr-defined]
            log.info("%s: %s", stage, profile)

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        # Validate the final weights, whatever the interval between validations: Lightning validates when it stops.
        last = trainer.is_last_batch and trainer.current_epoch + 1 == trainer.max_epochs
        if last or trainer.global_step == trainer.max_steps:
            trainer.should_stop = True
        if trainer.should_stop and trainer.check_val_every_n_epoch is not None:
            trainer.check_val_every_n_epoch = 1

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.validated = digest(pl_module.state_dict().values())

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        self.saved = digest(checkpoint["state_dict"].values())
        if trainer.state.finished:  # and Lightning has counted the epoch
            checkpoint["epoch"] -= 1


def digest(weights: Iterable[Tensor]) -> int:
    """Return a checksum of the bytes of weights."""
    found = 0
    for weight in weights:
        found = zlib.crc32(weight.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes(), found)
    return found
