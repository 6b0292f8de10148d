"""Early stopping: when it stops, what it waits for, and the weights that it leaves."""

import copy
import math
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import lightning.pytorch.callbacks as lc
import pytest
import torch
from conftest import (
    SMALL,
    TINY,
    Command,
    Compose,
    TinyImages,
    check_same_bits,
    composing,
    evaluated,
    kill_after,
    losses,
    metrics_of,
)
from hydra import compose
from lightning.pytorch import Trainer
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from vae_lightning import VAE, InputError, MNIST5kDataModule
from vae_lightning.callbacks import curves
from vae_lightning.callbacks.early_stopping import EarlyStopping
from vae_lightning.config.resolving import resolved
from vae_lightning.runs import fitting
from vae_lightning.runs.checking import check_config
from vae_lightning.runs.checkpoints import read_checkpoint
from vae_lightning.runs.closing_table import closing_table
from vae_lightning.runs.directory import METRICS
from vae_lightning.runs.extending import extend
from vae_lightning.runs.metric_names import check_metric_names
from vae_lightning.runs.stored_config import config_to_resume
from vae_lightning.runs.training import train

QUIET = [*TINY, "logger=none"]
STOP = [*QUIET, "callbacks=early_stopping", "callbacks.probe=null", "callbacks.figures=null"]
# The validation loss falls to epoch 5 and rises after it.
OVERFITS = [*STOP, "optimizer.lr=0.05", "model.widths=[64]", "trainer.max_epochs=9"]
RESTORES = [*OVERFITS, "callbacks.early_stopping.restore_best=true"]


@cache
def composed_once(*overrides: str) -> DictConfig:
    with composing():
        return compose("train", ["sweep.name=test", *overrides])


@pytest.fixture
def composed(tmp_path: Path) -> Compose:
    """As elsewhere, but each list of overrides is composed once, which takes a third of such a run's time."""

    def copied(*overrides: str, run: str = "run") -> DictConfig:
        cfg = copy.deepcopy(composed_once(*overrides))
        cfg.run_dir = str(tmp_path / run)
        return cfg

    return copied


@pytest.fixture(autouse=True)
def _without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another third draws the curves, which other tests look at."""
    for part in ("draw_curves", "write_figure"):
        monkeypatch.setattr(curves, part, lambda *_: None)


def stop(**options: Any) -> list[str]:
    return [f"callbacks.early_stopping.{name}={value}" for name, value in options.items()]


# When it stops.


def epoch_ends(callback: lc.Callback, values: Sequence[float | None], first: int = 1) -> Iterator[int]:
    """Yield the epochs at whose end a callback asks to stop, if the epochs log these values, or none."""
    strategy = SimpleNamespace(reduce_boolean_decision=lambda decision, all: bool(decision))
    logged: dict[str, Tensor] = {}
    state = SimpleNamespace(fn="fit")
    trainer: Any = SimpleNamespace(callback_metrics=logged, strategy=strategy, is_global_zero=True, state=state)
    trainer.fast_dev_run = trainer.sanity_checking = False
    trainer.val_check_interval, trainer.check_val_every_n_epoch = 1.0, 1
    callback.setup(trainer, SimpleNamespace(), "fit")  # type: ignore[arg-type]
    for epoch, value in enumerate(values, first):
        trainer.current_epoch, trainer.global_step, trainer.should_stop = epoch - 1, epoch, False
        callback.on_train_epoch_start(trainer, SimpleNamespace())  # type: ignore[arg-type]
        if value is not None:
            logged["val/loss"] = torch.tensor(value, dtype=torch.float64)
        callback.on_train_epoch_end(trainer, SimpleNamespace())  # type: ignore[arg-type]
        if trainer.should_stop:
            yield epoch


def first_stop(callback: lc.Callback, values: Sequence[float | None], first: int = 1) -> int | None:
    return next(epoch_ends(callback, values, first), None)


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("seed", range(20))
def test_it_stops_where_lightnings_callback_stops(seed: int, mode: str) -> None:
    values = torch.randint(10, (30,), generator=torch.Generator().manual_seed(seed)).double().tolist()
    options: dict[str, Any] = {"mode": mode, "patience": 2 + seed % 3, "min_delta": seed % 2}
    own = EarlyStopping("val/loss", **options)
    stopped = first_stop(own, values)
    assert stopped == first_stop(lc.EarlyStopping("val/loss", **options), values)
    assert own.stopped == (stopped or 0)
    best = (min if mode == "min" else max)(values[:stopped])
    assert (own.best["value"], own.best["epoch"]) == (best, values.index(best) + 1)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([5, 4, 4, 4, 4], 5),
        ([5, None, 6, None, 6, None, 6, None], 7),  # no validation in every other epoch
        ([5, 4.9, 4.8, 4.7, 4.6], 4),  # by less than min_delta each time; together more than it only too late
        ([5, 4.9, 4.4, 4.3, 4.2, 4.1], 6),
        ([math.nan, 5, math.nan, math.nan, math.nan], 5),
        ([math.nan] * 4, 3),
        ([5, 4, 3, 2], None),
    ],
)
def test_what_is_an_improvement(values: list[float | None], expected: int | None) -> None:
    assert first_stop(EarlyStopping(patience=3, min_delta=0.5), values) == expected


@pytest.mark.parametrize("cut", range(1, 9))
def test_it_continues_from_its_state(cut: int) -> None:
    values = [5, 4, 4.2, 3.9, 4, 4.5, 4.1, 4.4, 3]
    whole, first, second = (EarlyStopping(patience=4) for _ in range(3))
    assert first_stop(whole, values) == 8
    list(epoch_ends(first, values[:cut]))
    second.load_state_dict(first.state_dict())
    assert cut == 8 or first_stop(second, values[cut:], cut + 1) == 8
    assert second.state_dict() == whole.state_dict()


# What it waits for: two steps an epoch.

WARM_UP = "{_target_: vae_lightning.schedules.WarmUp, steps: 7, start: 0.5}"
STAIRS = "{_target_: vae_lightning.schedules.Staircase, at: [4, 8, 12, 17], factors: [0.9, 0.8, 0.7, 0.5]}"
# Relaxed latents whose temperature falls while their KL grows.
TEMPERATURES = [
    *("posterior=concrete_bernoulli", "posterior.relaxed_evaluation=true", f"posterior.schedule={STAIRS}"),
    *("objective=beta", "objective.beta=0", "optimizer.lr=0.01", *stop(monitor="train/kl", patience=9)),
]


@pytest.mark.parametrize(
    ("options", "first", "stopped"),
    [
        ([], 1, 3),
        (["objective=beta_warmup", "objective.schedule.steps=6"], 4, 6),
        (["objective=beta_warmup", "objective.schedule.steps=7"], 4, 6),
        (["objective=beta_warmup", "objective.schedule.steps=8"], 5, 7),
        (["objective=beta_cyclical", "objective.schedule.period=6"], 2, 5),  # counts epochs 2, 3, 5, 6, ...
        (["schedule=cosine", "schedule.steps=40", "schedule.warmup_steps=5"], 3, 5),
        (["posterior=concrete_bernoulli", f"posterior.schedule={WARM_UP}"], 4, 6),
        (["objective=beta_warmup", "objective.schedule.steps=40"], None, 0),
        (["trainer.check_val_every_n_epoch=2"], 2, 6),
        (["data.block_size=1"], 1, 3),
        (["+trainer.min_epochs=5"], 1, 5),
    ],
    ids=str,
)
def test_it_waits_for_warm_ups(
    options: list[str], first: int | None, stopped: int, composed: Compose, caplog: pytest.LogCaptureFixture
) -> None:
    # No epoch after the first that counts improves by so much.
    own = stop(patience=2, min_delta=1e9)
    with caplog.at_level("INFO"):
        metrics = train(composed(*STOP, "trainer.max_epochs=8", *own, *options))
    assert (metrics["epochs"], metrics.get("stopped/epoch", 0)) == (stopped or 8, stopped)
    assert ("because no epoch after the warm-ups logged val/loss" in caplog.text) == (first is None)
    assert caplog.text.count("training stops after epoch") == (stopped > 0)
    if first is not None:
        assert metrics["stopped/best/epoch"] >= first
        assert metrics["stopped/max_epochs"] == 8


def test_no_epoch_of_a_warm_up_is_the_best(composed: Compose) -> None:
    metrics = train(composed(*RESTORES, "objective=beta_warmup", "objective.schedule.steps=12"))
    assert metrics["best/epoch"] <= 6 < metrics["restored/epoch"]


# The weights that it leaves.


def validated(checkpoint: Path) -> dict[str, float]:
    trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    model, data = VAE.load_from_checkpoint(checkpoint), TinyImages(val_size=20, batch_size=20)
    found = [each(model, datamodule=data, verbose=False)[0] for each in (trainer.validate, trainer.test)]
    return {name: value for stage in found for name, value in stage.items() if "/" in name}


@pytest.mark.parametrize(
    "options",
    [
        [],
        stop(patience=2),
        [*stop(patience=2), "callbacks.curves=null"],
        ["trainer.check_val_every_n_epoch=2"],
        ["trainer.check_val_every_n_epoch=3", *stop(monitor="train/kl")],  # whose best epoch is not validated
        ["trainer.check_val_every_n_epoch=null", "+trainer.val_check_interval=3"],
        ["+trainer.gradient_clip_val=1"],
        ["+trainer.max_steps=17"],
        TEMPERATURES,
    ],
    ids=str,
)
def test_all_final_numbers_are_of_the_restored_weights(options: list[str], composed: Compose, tmp_path: Path) -> None:
    metrics = train(composed(*RESTORES, *options))
    epoch = metrics["restored/epoch"]
    assert epoch < metrics["epochs"]
    expected = validated(tmp_path / "run/checkpoints/last.ckpt")
    assert {name: metrics[name] for name in expected} == pytest.approx(expected, rel=1e-6)
    # train/ is that of the epoch.
    plain = train(composed(*OVERFITS, *options, "trainer.max_epochs=" + str(int(epoch)), run="plain"))
    assert metrics["train/loss"] == plain["train/loss"]
    found, last = (read_checkpoint(tmp_path / name / "checkpoints/last.ckpt") for name in ("run", "plain"))
    assert all(torch.equal(found["state_dict"][name], weight) for name, weight in last["state_dict"].items())
    assert VAE.load_from_checkpoint(tmp_path / "run/checkpoints/last.ckpt").posterior.step == last["global_step"]
    if "callbacks.curves=null" not in options:
        (*rows, test) = (tmp_path / "run/metrics.csv").read_text().splitlines()[1:]
        assert len(rows) == metrics["epochs"]
        assert test.split(",")[:2] == [str(int(epoch)), str(last["global_step"])]


def test_the_best_weights_are_those_of_the_best_checkpoint(composed: Compose, tmp_path: Path) -> None:
    metrics = train(composed(*RESTORES))
    assert metrics["best/epoch"] == metrics["restored/epoch"]
    last, best = (read_checkpoint(tmp_path / f"run/checkpoints/{name}.ckpt") for name in ("last", "best"))
    assert all(torch.equal(last["state_dict"][name], weight) for name, weight in best["state_dict"].items())


def test_a_commands_numbers_agree_and_say_of_which_epoch_they_are(
    composed: Compose, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    metrics = train(composed(*RESTORES, *stop(patience=2)))
    epoch, stopped = (int(metrics[name]) for name in ("restored/epoch", "stopped/epoch"))
    shown = capsys.readouterr().out
    assert f"\nstopped at epoch {stopped} of 9, best {epoch} (val/loss {metrics['best/val/loss']:.2f})\n" in shown
    assert f"\nnumbers of the weights of epoch {epoch}\n" in shown
    assert "best epoch" not in shown
    found = evaluated(tmp_path / "run", "samples=0")
    assert {name: found[name] for name in ("test/loss", "test/kl")} == {
        name: metrics[name] for name in ("test/loss", "test/kl")
    }
    assert f"epoch{epoch:>35}{epoch:>26}" in capsys.readouterr().out


def test_the_closing_table_names_both_best_epochs_where_they_differ(tmp_path: Path) -> None:
    metrics = {"epochs": 9.0, "fit_seconds": 1.0, "best/epoch": 2.0, "best/val/loss": 99.0, "stopped/epoch": 9.0}
    shown = closing_table(metrics | {"stopped/best/epoch": 6.0, "stopped/best/probe/val_acc": 0.81234}, tmp_path, [])
    assert "stopped at epoch 9, best 6 (probe/val_acc 0.8123)\nbest epoch 2: val/loss 99.00" in shown


# Runs that are cut off, or get more epochs.


@pytest.mark.parametrize(("patience", "restore"), [(2, "true"), (9, "true"), (2, "false")])
def test_a_run_cut_off_at_the_end_of_its_fit_ends_with_the_same_numbers(
    patience: int, restore: str, composed: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = [*RESTORES, *stop(patience=patience, restore_best=restore)]
    whole = train(composed(*options, run="whole"))

    def crash(*_: Any, **__: Any) -> None:
        raise InterruptedError

    for where in ("save_again", "logged_by_fit", "Run.end_fit", "pl.Trainer.test"):
        run = tmp_path / where
        with monkeypatch.context() as patched:
            patched.setattr(f"{fitting.__name__}.{where}", crash)
            with pytest.raises(InterruptedError):
                train(composed(*options, run=where))
        assert not (run / METRICS).exists()
        assert losses(train(composed(*options, run=where))) == losses(whole), where
        contents = [read_checkpoint(each / "checkpoints/last.ckpt") for each in (run, tmp_path / "whole")]
        assert contents[0]["epoch"] == contents[1]["epoch"], where
        weights = [content["state_dict"] for content in contents]
        assert all(torch.equal(weights[0][name], each) for name, each in weights[1].items()), where
        assert (run / "metrics.csv").read_text() == (tmp_path / "whole/metrics.csv").read_text(), where


@pytest.mark.parametrize("patience", [2, 9])
@pytest.mark.parametrize("first", [3, 6, 8])
def test_more_epochs_give_the_run_that_had_them_from_the_start(
    first: int, patience: int, composed: Compose, tmp_path: Path
) -> None:
    """A run that has stopped stays so; one whose best weights were put back trains on from its last ones."""
    options = [*RESTORES, *stop(patience=patience)]
    whole = train(composed(*options, run="whole"))
    train(composed(*options, f"trainer.max_epochs={first}"))
    run = tmp_path / "run"
    assert losses(train(OmegaConf.create(extend(run, config_to_resume(run), 9)))) == losses(whole)
    assert (run / "metrics.csv").read_text() == (tmp_path / "whole/metrics.csv").read_text()


def test_a_killed_run_stops_at_the_same_epoch_with_the_same_bits(
    command: Command, composed: Compose, tmp_path: Path
) -> None:
    own = ["callbacks=early_stopping", *stop(patience=2, restore_best="true"), "callbacks.figures=null"]
    options = [*SMALL, *own, "data.val_size=1000", "optimizer.lr=0.05", "trainer.max_epochs=40", "model.widths=[32]"]
    options += ["callbacks.probe.every_n_epochs=1"]
    train(composed(*options, run="whole"))
    kill_after(4, tmp_path, *options, "hydra.run.dir=run")
    done = command("train", "resume=run")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("training stops after epoch") == 1
    check_same_bits(tmp_path / "run", tmp_path / "whole")


def test_two_processes_stop_where_one_does(command: Command, composed: Compose, tmp_path: Path) -> None:
    own = ["callbacks=early_stopping", *stop(patience=1, restore_best="true", min_delta=3)]
    options = [*SMALL, *own, "callbacks.figures=null", "callbacks.probe=null", "trainer.max_epochs=30"]
    options += ["optimizer.lr=0.03", "model.widths=[16]", "trainer.precision=64-true"]
    one = losses(train(composed(*options)))
    done = command("train", *options, "trainer=ddp_cpu", "hydra.run.dir=two")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("training stops after epoch") == 1
    assert losses(metrics_of(tmp_path / "two")) == pytest.approx(one, rel=1e-6)
    assert "restored/epoch" in one


# With other callbacks and data.


def test_a_probe_is_monitored(composed: Compose) -> None:
    probe = ["callbacks=early_stopping", *TINY, *stop(monitor="probe/val_acc", mode="max", patience=2)]
    probe = [option for option in probe if option != "callbacks.probe=null"]
    with pytest.raises(InputError, match="must be set with the probe's every_n_epochs"):
        check_metric_names(resolved(composed(*probe)))
    often = ["callbacks.probe.every_n_epochs=2", "callbacks.probe.max_iter=5", "trainer.max_epochs=30"]
    metrics = train(composed(*probe, *often, "optimizer.lr=1e-9", *stop(restore_best="true"), "logger=none"))
    assert (metrics["stopped/epoch"], metrics["restored/epoch"]) == (6, 2)
    assert metrics["probe/val_acc"] == metrics["stopped/best/probe/val_acc"]


def test_it_is_left_out_without_validation(composed: Compose, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"):
        metrics = train(composed(*STOP, "data.val_size=0"))
    assert "callbacks.early_stopping is left out, because it monitors val/loss and data.val_size=0" in caplog.text
    assert not any(name.startswith("stopped") for name in metrics)


def test_lightnings_own_works_beside_it(composed: Compose) -> None:
    own = "{_target_: lightning.pytorch.callbacks.EarlyStopping, monitor: val/loss, min_delta: 1e9, patience: 1}"
    metrics = train(composed(*STOP, f"+callbacks.stop={own}", "trainer.max_epochs=9"))
    assert metrics["epochs"] == 2
    assert "stopped/epoch" not in metrics


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (stop(patience=0), "callbacks.early_stopping.patience=0: must be a whole number of at least 1"),
        (stop(min_delta=-1), "callbacks.early_stopping.min_delta=-1: must be"),
        (stop(mode="least"), "callbacks.early_stopping.mode=least: must be"),
        (
            [
                *stop(restore_best="true"),
                "+callbacks.average._target_=lightning.pytorch.callbacks.EMAWeightAveraging",
            ],
            "callbacks.early_stopping.restore_best=true: must be false, because callbacks.average averages the weights",
        ),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(options: list[str], message: str, composed: Compose) -> None:
    with pytest.raises(InputError) as caught:
        check_config(resolved(composed("data=mnist_5k", "callbacks=early_stopping", *options)))
    assert str(caught.value).startswith(message)


def test_it_works_with_a_plain_trainer() -> None:
    stopping = EarlyStopping(patience=1, min_delta=1e9, restore_best=True)
    vae, data = (
        VAE(latent_dim=2, widths=[8], optimizer={"_target_": "torch.optim.Adam", "lr": 0.5}),
        MNIST5kDataModule(),
    )
    trainer = Trainer(
        max_epochs=20, callbacks=[stopping], accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(vae, datamodule=data)
    assert (stopping.stopped, trainer.current_epoch) == (2, 2)
    (found,) = trainer.validate(vae, datamodule=data, verbose=False)
    assert found["val/loss"] == pytest.approx(stopping.best["value"])
