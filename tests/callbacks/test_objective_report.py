"""Reports of a run's objective: each epoch's own value, and the end of a run that is pruned."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from conftest import TINY, Compose, losses

from vae_lightning.callbacks.objective_report import ObjectiveReport
from vae_lightning.runs.directory import METRICS, PRUNED
from vae_lightning.runs.training import train

RUN = [*TINY, "trainer.max_epochs=4", "logger=none"]


class Reports:
    """Records what is reported, and prunes from an epoch on."""

    def __init__(self, pruned_from: int = 99) -> None:
        self.pruned_from, self.seen = pruned_from, dict[int, float]()

    def __call__(self, epoch: int, value: float) -> bool:
        assert epoch not in self.seen
        self.seen[epoch] = value
        return epoch >= self.pruned_from


def csv_values(run: Path, name: str) -> dict[int, float]:
    header, *rows = [line.split(",") for line in (run / "metrics.csv").read_text().splitlines()]
    values = {int(row[header.index("epoch")]): row[header.index(name)] for row in rows}
    return {epoch + 1: float(value) for epoch, value in values.items() if value}


@pytest.mark.parametrize(
    ("options", "epochs"),
    [
        ([], [1, 2, 3, 4]),
        (["trainer.check_val_every_n_epoch=2"], [2, 4]),
        (["data.block_size=1"], [1, 2, 3, 4]),
        (["sweep.objective=train/loss"], [1, 2, 3, 4]),
    ],
    ids=str,
)
def test_each_value_is_reported_once_in_its_epoch(
    options: list[str], epochs: list[int], composed: Compose, tmp_path: Path
) -> None:
    cfg, reports = composed(*RUN, *options), Reports()
    metrics = train(cfg, reports)
    assert [*reports.seen] == epochs
    curve = csv_values(tmp_path / "run", cfg.sweep.objective)
    assert reports.seen == pytest.approx({epoch: curve[epoch] for epoch in epochs})
    assert reports.seen[4] == metrics[cfg.sweep.objective]
    # A report changes nothing of the run.
    assert losses(metrics) == losses(train(composed(*RUN, *options, run="plain")))


@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_a_pruned_run_ends_after_its_epoch_without_final_numbers(epoch: int, composed: Compose, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert train(composed(*RUN), Reports(epoch)) == {}
    pruned = json.loads((run / PRUNED).read_text())
    assert (pruned["epoch"], pruned["epochs"]) == (epoch, 4)
    assert not (run / METRICS).exists()
    assert max(csv_values(run, "val/loss")) == epoch
    state = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    assert state["epoch"] + 1 == epoch
    # Without a search, it goes on.
    assert losses(train(composed(*RUN))) == losses(train(composed(*RUN, run="whole")))
    assert not (run / PRUNED).exists()


def test_a_run_that_has_trained_its_last_epoch_is_complete_whatever_the_verdict(
    composed: Compose, tmp_path: Path
) -> None:
    metrics = train(composed(*RUN), Reports(4))
    assert metrics["epochs"] == 4
    assert not (tmp_path / "run" / PRUNED).exists()


def test_a_run_that_stops_by_itself_is_complete_whatever_the_verdict(composed: Compose, tmp_path: Path) -> None:
    stop = ["callbacks=early_stopping", "callbacks.early_stopping.patience=1", "callbacks.early_stopping.min_delta=1e9"]
    metrics = train(composed(*stop, *RUN), Reports(2))
    assert (metrics["epochs"], metrics["stopped/epoch"]) == (2, 2)
    assert not (tmp_path / "run" / PRUNED).exists()


def trainer_of(rank: int, broadcast: Callable[[bool], bool], **attributes: Any) -> Any:
    nothing = {"callback_metrics": {"val/loss": torch.tensor(1.0)}, "current_epoch": 0, "max_epochs": 4}
    strategy = SimpleNamespace(broadcast=broadcast)
    return SimpleNamespace(
        **{"should_stop": False, **nothing, **attributes}, is_global_zero=rank == 0, strategy=strategy
    )


@pytest.mark.parametrize("verdict", [True, False])
def test_only_the_first_process_reports_and_all_end(verdict: bool) -> None:
    reports = Reports(1 if verdict else 99)
    callback = ObjectiveReport("val/loss", reports)
    first = trainer_of(0, lambda pruned: pruned)
    callback.on_train_epoch_end(first, None)  # type: ignore[arg-type]
    other = ObjectiveReport("val/loss", lambda *_: pytest.fail("another process reports"))
    second = trainer_of(1, lambda pruned: verdict)
    other.on_train_epoch_end(second, None)  # type: ignore[arg-type]
    assert first.should_stop == second.should_stop == verdict
    assert callback.pruned == other.pruned == (1 if verdict else None)


def test_a_value_of_an_earlier_epoch_is_not_reported_again() -> None:
    reports = Reports()
    callback, trainer = ObjectiveReport("val/loss", reports), trainer_of(0, lambda pruned: pruned)
    for epoch in range(3):
        trainer.current_epoch = epoch
        callback.on_train_epoch_start(trainer, None)  # type: ignore[arg-type]
        if epoch != 1:
            trainer.callback_metrics["val/loss"] = torch.tensor(5.0)  # perhaps by chance the same
        callback.on_train_epoch_end(trainer, None)  # type: ignore[arg-type]
    assert reports.seen == {1: 5.0, 3: 5.0}


@pytest.mark.parametrize(("epoch", "pruned"), [(3, 3), (4, None)])
def test_the_last_epoch_prunes_nothing_with_a_plain_trainer_either(epoch: int, pruned: int | None) -> None:
    callback = ObjectiveReport("val/loss", Reports(1))
    trainer = trainer_of(0, lambda verdict: verdict, current_epoch=epoch - 1)
    callback.on_train_epoch_end(trainer, None)  # type: ignore[arg-type]
    assert (callback.pruned, trainer.should_stop) == (pruned, pruned is not None)
