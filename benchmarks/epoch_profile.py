"""A callback for Lightning's Trainer that profiles one epoch's training steps."""

import math
import time
from pathlib import Path

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from step_profile import tables
from torch.profiler import ProfilerActivity, profile


class EpochProfile(Callback):
    """Writes the tables of :func:`step_profile.tables` to a file.

    Arguments:
        epoch: the number of the epoch, from 1.
        result: the file.
    """

    def __init__(self, epoch: int, result: str) -> None:
        self.epoch, self.result = epoch, Path(result)
        gpu = [ProfilerActivity.CUDA] if torch.cuda.is_available() else []
        self.profile = profile(activities=[ProfilerActivity.CPU, *gpu], acc_events=True)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.current_epoch + 1 == self.epoch:
            self.profile.start()
            self.began = time.perf_counter()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.current_epoch + 1 == self.epoch:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            whole = 1e3 * (time.perf_counter() - self.began)
            self.profile.stop()
            data = trainer.datamodule  # type: ignore[attr-defined]
            steps = math.ceil(len(data.train) / data.batch_size)
            self.result.write_text(tables(self.profile.events(), steps, whole))
