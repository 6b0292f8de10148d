"""The training curves: metrics.csv and a plot."""

import csv
import io
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from vae_lightning.config.arguments import checked
from vae_lightning.evaluation.curves import draw_curves
from vae_lightning.whole_files import write_figure, write_file

__all__ = ["Curves"]


class Curves(Callback):
    """Writes one row per epoch and one for the test, and plots loss, reconstruction and KL when training ends.

    The rows are part of every checkpoint, so the curves of a resumed run have neither gaps nor duplicates: rows written
    after the checkpoint are dropped, and the checkpoint's own epoch is logged again, because the loggers may have
    missed it.

    Arguments:
        table: the CSV file; its columns are ``epoch`` (from 0), ``step`` (optimiser steps) and every metric except
            ``speed/``, so that the same run writes the same table.
        picture: the PNG file.

    Raises:
        InputError: if an argument breaks its rule (:mod:`vae_lightning.callbacks.rules`).
    """

    @checked
    def __init__(self, table: str, picture: str) -> None:
        self.table, self.picture = Path(table), Path(picture)
        self.rows: list[dict[str, float]] = []
        self._earlier_metrics: dict[str, Tensor] = {}

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = state_dict["rows"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.rows:
            self._write(trainer)
            last = self.rows[-1]
            for logger in trainer.loggers:
                logger.log_metrics({name: value for name, value in last.items() if "/" in name}, int(last["step"]))

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        # Lightning keeps the metrics of earlier epochs; those of this epoch will be new tensors.
        self._earlier_metrics = dict(trainer.callback_metrics)

    on_test_start = on_train_epoch_start

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._add_row(trainer)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            write_figure(self.picture, draw_curves(self.rows))

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._add_row(trainer)

    def _add_row(self, trainer: Trainer) -> None:
        new = {
            name: value
            for name, value in trainer.callback_metrics.items()
            if "/" in name and value is not self._earlier_metrics.get(name)
        }
        position: dict[str, float] = {"epoch": trainer.current_epoch, "step": trainer.global_step}
        self.rows.append(position | {name: float(value) for name, value in new.items()})
        self._write(trainer)

    def _write(self, trainer: Trainer) -> None:
        if trainer.is_global_zero:
            columns = dict.fromkeys(name for row in self.rows for name in row if not name.startswith("speed/"))
            text = io.StringIO()
            writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)
            write_file(self.table, text.getvalue())
