"""The bookkeeping of a run: its directory, checkpoints and records, restarts and resumed runs."""

import json
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import TINY, Command, Compose, composing, losses, metrics_of
from hydra import compose
from lightning.pytorch.loggers import CSVLogger, MLFlowLogger
from omegaconf import OmegaConf

from vae_lightning import InputError
from vae_lightning.runs import run as run_module
from vae_lightning.runs.checkpoints import SafeCheckpointIO, checkpoints, load_vae
from vae_lightning.runs.directory import (
    CONFIG,
    FAILURE,
    FIT,
    JOB,
    METRICS,
    TRACKERS,
    checkpoint_path,
    locked,
    read_metrics,
    stored_fit,
    stored_metrics,
    stored_tracker_ids,
)
from vae_lightning.runs.run import Run
from vae_lightning.runs.stored_config import config_to_resume
from vae_lightning.runs.training import train


class Crash(BaseException):
    """A crash of the process, which no ``except Exception`` catches."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny run of two epochs, made in this process."""
    run = tmp_path_factory.mktemp("finished") / "run"
    with composing():
        cfg = compose("train", [f"run_dir='{run}'", "sweep.name=test", *TINY])
    train(cfg)
    return run


# The directory.


def test_a_run_that_is_started_over_keeps_nothing_of_its_old_weights(composed: Compose, tmp_path: Path) -> None:
    run, own = tmp_path / "run", {"notes.txt", "mine/weights.ckpt", "job.json"}
    written = {
        *(".hydra/config.yaml", "metrics.json", "metrics.csv", "environment.json", "evaluation.json", "hparams.yaml"),
        *("trackers.json", "failure.json", "export/encoder.onnx", "export/decoder.onnx", "figures/curves.png"),
        *("figures/latent_space.png", "checkpoints/last.ckpt", "checkpoints/previous.ckpt", "checkpoints/best.ckpt"),
        *("events.out.tfevents.1.host.1.0", "projector_config.pbtxt", "projector/points.tsv", "hparams.yaml"),
        "tensorboard/events.out.tfevents.1.host.1.0",  # of an earlier version
    }
    for name in written | own:
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text("old")
    train(composed(*TINY, "trainer.max_epochs=1", "restart=true"))
    files = [file for file in run.rglob("*") if file.is_file()]
    assert {str(file.relative_to(run)) for file in files if file.read_bytes() == b"old"} == own
    assert not (run / "checkpoints/previous.ckpt").exists()


def test_a_directory_is_locked_for_as_long_as_a_run_is_at_work_in_it(tmp_path: Path, finished: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(Crash), locked(run):  # noqa: PT012
        with pytest.raises(InputError, match="another process is using it"), locked(run):
            pytest.fail("two processes are at work in one folder")
        raise Crash
    assert [*run.iterdir()] == []
    with locked(run):
        pass
    assert not (finished / ".lock").exists()


def test_a_lock_clears_what_killed_writes_have_left(tmp_path: Path) -> None:
    left = ["metrics.csv.0123abcd.part", ".hydra/config.yaml.0123abcd.part", "checkpoints/last.ckpt.part"]
    for name in [*left, "mine.part"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with locked(tmp_path):
        assert [path.name for path in tmp_path.rglob("*.part")] == ["mine.part"]


@pytest.mark.parametrize(
    "content", [b"", b'{"val/loss": 1', b"[]", b"\x89PNG\xff"], ids=["empty", "cut", "list", "binary"]
)
def test_a_run_writes_damaged_metrics_and_tracker_ids_again(
    content: bytes, composed: Compose, finished: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run, dirs_exist_ok=True)
    before = metrics_of(run)
    for name in (METRICS, TRACKERS):
        (run / name).write_bytes(content)
    train(composed(*TINY))
    assert losses(metrics_of(run)) == losses(before)


# Checkpoints.


def save(run: Path, which: str, epoch: int) -> None:
    content = {"epoch": epoch, "global_step": 0, "state_dict": {}, "pytorch-lightning_version": "2.6.6"}
    content |= {"loops": {}, "callbacks": {}, "optimizer_states": []}
    SafeCheckpointIO().save_checkpoint(content, checkpoint_path(run, which))


def saved(run: Path) -> list[tuple[str, int]]:
    """The checkpoints from which a run can resume, with their epochs."""
    return [(path.stem, content["epoch"]) for path, content in checkpoints(run)]


def test_a_run_resumes_from_the_last_checkpoint_and_from_the_previous_one_without_it(tmp_path: Path) -> None:
    for epoch in range(3):
        save(tmp_path, "best", 0)  # as best_checkpoint does, before the last one is saved
        save(tmp_path, "last", epoch)
    assert saved(tmp_path) == [("last", 2), ("previous", 1)]
    checkpoint_path(tmp_path, "last").unlink()
    assert saved(tmp_path) == [("previous", 1)]


def test_the_best_checkpoint_never_becomes_the_previous_one(tmp_path: Path) -> None:
    save(tmp_path, "best", 0)
    save(tmp_path, "best", 1)
    assert saved(tmp_path) == []
    assert [file.name for file in (tmp_path / "checkpoints").iterdir()] == ["best.ckpt"]


@pytest.mark.parametrize("step", ["save", "fsync", "first rename", "second rename"])
def test_a_crash_while_a_checkpoint_is_saved_leaves_the_one_before_it(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path, "last", 0)
    save(tmp_path, "last", 1)
    whole, renames = os.replace, iter(["first rename", "second rename"])

    def half(checkpoint: object, file: Any) -> None:
        file.write(b"half a checkpoint")
        raise Crash

    def crash(*_: object) -> None:
        raise Crash

    def replace(source: Path, target: Path) -> None:
        if next(renames) == step:
            raise Crash
        whole(source, target)

    if step == "save":
        monkeypatch.setattr(torch, "save", half)
    elif step == "fsync":
        monkeypatch.setattr(os, "fsync", crash)
    else:
        monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(Crash):
        save(tmp_path, "last", 2)
    assert saved(tmp_path)[0][1] == 1
    assert caplog.text == ""  # nor is any of them damaged


def test_a_checkpoint_that_does_not_fit_on_the_disk_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, "last", 0)
    save(tmp_path, "last", 1)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}

    def full(checkpoint: object, file: Any) -> None:
        file.write(b"half a checkpoint")
        raise RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match=r"last\.ckpt: cannot be written .*file write failed"):
        save(tmp_path, "last", 2)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == before


# A run's records.


class Remembering(CSVLogger):
    """A logger whose server knows a run by an ID, and that can draw its curves anew from a step on."""

    def __init__(self, run_id: str | None = None, purge_step: int | None = None) -> None:
        super().__init__("")
        self.run_id, self.purge_step = run_id, purge_step


def run_of(directory: Path, **config: Any) -> Run:
    data = {"_target_": "vae_lightning.data.MNIST5kDataModule"}
    nothing = {"callbacks": {}, "data": data, "logger": {}, "restart": False, "seed": 0}
    return Run({**nothing, "run_dir": str(directory), **config}, {})


@pytest.mark.parametrize(("restart", "run_id"), [(False, "7"), (True, None)])
def test_a_resumed_run_continues_its_record_and_one_started_over_has_a_new_one(
    restart: bool, run_id: str | None, tmp_path: Path
) -> None:
    (tmp_path / TRACKERS).write_text(json.dumps({"mine": "7"}))
    node = {"_target_": f"{__name__}.Remembering", "run_id": None, "purge_step": None}
    run = run_of(tmp_path, logger={"mine": node}, restart=restart)
    run.begin_loggers(None if restart else {"global_step": 32})
    logger = run.loggers["mine"]
    assert isinstance(logger, Remembering)
    assert (logger.run_id, logger.purge_step) == (run_id, None if restart else 32)


class Ended(MLFlowLogger):
    """A logger that records how it was ended."""

    def __init__(self) -> None:
        self.statuses: list[str] = []

    def finalize(self, status: str = "success") -> None:
        self.statuses.append(status)


def test_a_record_ends_as_failed_unless_the_run_is_complete(tmp_path: Path) -> None:
    run, logger = run_of(tmp_path), Ended()
    run.loggers = {"mine": logger}
    run.end_loggers()
    (tmp_path / METRICS).write_text("{}")
    run.end_loggers()
    assert logger.statuses == ["failed", "success"]


def test_a_run_is_complete_only_when_everything_else_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise Crash

    monkeypatch.setattr(run_module, "show_result", crash)
    with pytest.raises(Crash):
        run_of(tmp_path).finish({"val/loss": 1.0})
    assert not (tmp_path / METRICS).exists()


def test_a_failure_is_removed_when_the_run_is_tried_again(tmp_path: Path) -> None:
    run = run_of(tmp_path)
    run.begin({}, resumes=False)
    for name in (FAILURE, JOB, Path("figures/curves.png")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("old")
    run.begin({}, resumes=True)
    assert not (tmp_path / FAILURE).exists()
    assert (tmp_path / JOB).exists()
    assert (tmp_path / "figures/curves.png").exists()


# Resuming.


@pytest.fixture
def cut_off(finished: Path, tmp_path: Path) -> Path:
    """The run as it was after its first epoch, in a folder of its own."""
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    (run / METRICS).unlink()
    (run / "checkpoints/previous.ckpt").rename(run / "checkpoints/last.ckpt")
    return run


def test_a_resumed_run_trains_the_epochs_that_are_missing_and_ends_with_the_same_table(
    cut_off: Path, finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = OmegaConf.create((finished / CONFIG).read_text().replace(str(finished), str(cut_off)))
    metrics = train(config)  # type: ignore[arg-type]
    shown = capsys.readouterr().out
    assert "epoch 1/2" not in shown
    assert "epoch 2/2" in shown
    assert "2 epochs in" in shown
    assert metrics["epochs"] == 2
    assert (cut_off / "metrics.csv").read_text() == (finished / "metrics.csv").read_text()


def test_resuming_a_run_that_was_started_over_does_not_start_it_over_again(
    finished: Path, command: Command, tmp_path: Path, no_torch: None
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    config = (run / CONFIG).read_text()
    assert "\nrestart: false\n" in config
    (run / CONFIG).write_text(config.replace("\nrestart: false\n", "\nrestart: true\n"))
    done = command("train", "resume=run")
    assert done.returncode == 0, done.stderr
    assert "run is already complete" in done.stdout


def test_a_moved_run_that_resumes_remembers_its_best_epoch(composed: Compose, tmp_path: Path) -> None:
    # By the largest validation loss, so that the first epoch of two is the best.
    options = [*TINY, "logger=none", "callbacks.best_checkpoint.mode=max", "optimizer.lr=0.03"]
    train(composed(*options))
    moved = (tmp_path / "run").rename(tmp_path / "moved")
    (moved / METRICS).unlink()
    (moved / "checkpoints/previous.ckpt").replace(moved / "checkpoints/last.ckpt")
    train(composed(*options, run="moved"))
    assert torch.load(moved / "checkpoints/best.ckpt", weights_only=True)["epoch"] == 0


def without(*keys: str) -> Callable[[dict[str, Any]], object]:
    """Return a change of a checkpoint: an entry, given by the keys on the way to it, is left out."""

    def change(content: dict[str, Any]) -> object:
        part: Any = content
        for key in keys[:-1]:
            part = part[key]
        del part[keys[-1]]
        return content

    return change


def with_(value: object, *keys: str) -> Callable[[dict[str, Any]], object]:
    """Return a change of a checkpoint: an entry, given by the keys on the way to it, has another value."""

    def change(content: dict[str, Any]) -> object:
        part: Any = content
        for key in keys[:-1]:
            part = part[key]
        part[keys[-1]] = value
        return content

    return change


NAN, WEIGHT = torch.full((8, 784), math.nan), ("state_dict", "encoder.1.weight")


@pytest.mark.parametrize(
    ("change", "resumed", "evaluated"),
    [
        (lambda content: [content], "epoch is missing", "epoch is missing"),
        (lambda content: content["state_dict"], "epoch is missing", "epoch is missing"),
        (without("state_dict"), "state_dict is missing", "state_dict is missing"),
        (with_([], "state_dict"), "state_dict is missing or invalid", "state_dict is missing or invalid"),
        (without("pytorch-lightning_version"), "version is missing", "version is missing"),
        (without("loops"), "loops is missing", None),
        (without("callbacks"), "callbacks is missing", None),
        (without("optimizer_states"), "optimizer_states is missing", None),
        (with_([{"state": {}}], "optimizer_states"), "does not fit the model: 'param_groups'", None),
        (with_({"rows": 5}, "callbacks", "Curves"), "does not fit", None),
        (with_("x", "pytorch-lightning_version"), "does not fit", "does not fit"),
        (with_(NAN, *WEIGHT), "encoder.1.weight is not", "encoder.1.weight is not"),
        (with_("text", *WEIGHT), "encoder.1.weight is not", "encoder.1.weight is not"),
        (without(*WEIGHT), "does not fit the model: .* Missing key", "does not fit the model: .* Missing key"),
        (
            with_(torch.zeros(3, 3), *WEIGHT),
            "does not fit the model: .* size mis",
            "does not fit the model: .* size mis",
        ),
        (with_(10**30, "global_step"), "does not fit the model", None),
        (with_([10**15], "hyper_parameters", "widths"), None, "does not fit the model: .*"),
        (with_(7, "hyper_parameters"), None, "does not fit the model"),
    ],
)
def test_a_checkpoint_with_other_content_is_refused_in_one_line(
    change: Callable[[dict[str, Any]], object], resumed: str | None, evaluated: str | None, cut_off: Path
) -> None:
    path = cut_off / "checkpoints/last.ckpt"
    torch.save(change(torch.load(path, weights_only=True)), path)
    for expected, use in (
        (evaluated, lambda: load_vae(path, "vae_lightning.VAE")),
        (resumed, lambda: train(OmegaConf.create(config_to_resume(cut_off)))),
    ):
        if expected is not None:
            with pytest.raises(InputError, match=rf"last\.ckpt: .*{expected}") as caught:
                use()
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"{", b"[1]", b'{"loss": []}', b'{"loss": null}', b"\xff", b"[" * 100_000])
def test_a_damaged_file_of_a_run_is_named_and_written_again(
    content: bytes, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in (FIT, METRICS, TRACKERS):
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=r"metrics\.json: is damaged") as caught:
        read_metrics(tmp_path)
    assert "\n" not in str(caught.value)
    assert stored_metrics(tmp_path) is None
    assert "metrics.json: is damaged" in caplog.text
    assert all(isinstance(known, str) for known in stored_tracker_ids(tmp_path).values())
    assert stored_fit(tmp_path).get("step") is None


def test_every_run_shows_the_same_hyperparameters_and_the_axes_of_its_sweep(tmp_path: Path) -> None:
    config = {"model": {"latent_dim": 3}, "trainer": {"max_epochs": 2}}
    assert run_of(tmp_path, **config).hyperparameters == {"latent_dim": 3, "max_epochs": 2, "seed": 0}
    nothing = {"callbacks": {}, "data": {"_target_": "vae_lightning.data.MNIST5kDataModule"}, "run_dir": "."}
    run = Run(nothing | config | {"seed": 0}, {"beta": 2.0, "seed": 7})
    assert run.hyperparameters == {"latent_dim": 3, "max_epochs": 2, "seed": 7, "beta": 2.0}
