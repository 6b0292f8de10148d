"""The training curves: metrics.csv and a plot."""

import csv
import io
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from vae_lightning.callbacks.early_stopping import position
from vae_lightning.callbacks.new_metrics import new_metrics
from vae_lightning.config.arguments import checked
from vae_lightning.evaluation.curves import draw_curves
from vae_lightning.whole_files import write_figure, write_file

__all__ = ["Curves"]


class Curves(Callback):
    """Writes one row per epoch and one for the test, and plots loss, reconstruction and KL when training ends.

    The rows are part of every checkpoint, so the curves of a resumed run have neither gaps nor duplicates: rows written
    after the checkpoint are dropped, and the checkpoint's own epoch is logged again, because the loggers may have
    missed it. A validation after the fit adds to the row of the epoch whose weights
    the model has, and the row of the test names that epoch: the last one unless EarlyStopping has restored another.

    Arguments:
        table: the CSV file; its columns are ``epoch`` (from 0), ``step`` (optimiser steps) and every metric except
            ``speed/`` and seconds, so that the same run writes the same table.
        picture: the PNG file.

    Raises:
        InputError: if an argument breaks its rule (:mod:`vae_lightning.callbacks.rules`).
    """

    @checked
    def __init__(self, table: str, picture: str) -> None:
        self.table, self.picture = Path(table), Path(picture)
        self.rows: list[dict[str, float]] = []
        self._earlier_metrics: dict[str, Tensor] = {}
        self._started = False

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = [{**row} for row in state_dict["rows"]]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._started = True
        if self.rows:
            self._write(trainer)
            last = self.rows[-1]
            for logger in trainer.loggers:
                logger.log_metrics({name: value for name, value in last.items() if "/" in name}, int(last["step"]))

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._earlier_metrics = dict(trainer.callback_metrics)

    on_test_start = on_train_epoch_start

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == TrainerFn.VALIDATING:
            self._earlier_metrics = dict(trainer.callback_metrics)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.state.fn == TrainerFn.VALIDATING and self.rows:
            _, step = position(trainer)
            next((row for row in self.rows if row["step"] == step), self.rows[-1]).update(self._new(trainer))
            self._write(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._add_row(trainer)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self._started:  # nothing was left to train
            self.on_train_start(trainer, pl_module)
        if trainer.is_global_zero:
            write_figure(self.picture, draw_curves(self.rows, self._best(trainer)))

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._add_row(trainer)

    def _best(self, trainer: Trainer) -> int | None:
        """Return the index of the best epoch by the first metric that a checkpoint monitors."""
        for callback in trainer.checkpoint_callbacks:
            if isinstance(callback, ModelCheckpoint) and callback.monitor is not None:
                places = [place for place, row in enumerate(self.rows) if callback.monitor in row]
                better = max if callback.mode == "max" else min
                return better(places, key=lambda place: self.rows[place][callback.monitor], default=None)  # type: ignore[index]
        return None

    def _add_row(self, trainer: Trainer) -> None:
        epoch, step = position(trainer)
        self.rows.append({"epoch": epoch, "step": step, **self._new(trainer)})
        self._write(trainer)

    def _new(self, trainer: Trainer) -> dict[str, float]:
        new = new_metrics(trainer.callback_metrics, self._earlier_metrics)
        return {name: float(value) for name, value in new.items() if "/" in name}

    def _write(self, trainer: Trainer) -> None:
        if trainer.is_global_zero:
            names = (name for row in self.rows for name in row)
            columns = dict.fromkeys(
                name for name in names if not (name.startswith("speed/") or name.endswith("/seconds"))
            )
            text = io.StringIO()
            writer = csv.DictWriter(text, columns, extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)
            write_file(self.table, text.getvalue())
