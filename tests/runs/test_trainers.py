"""The precision of a run's matrix products: recorded, kept by a run that resumes, and unseen by anything else."""

import json
import logging
from pathlib import Path

import pytest
import torch
from conftest import SMALL, TINY, Command, Compose
from torch.optim.optimizer import register_optimizer_step_pre_hook

from vae_lightning import matmul_precision as module
from vae_lightning.matmul_precision import Measured, Product
from vae_lightning.runs.training import train

PRECISIONS = ("highest", "medium")


@pytest.fixture
def chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[Product]]:
    """Let ``medium`` be the fastest, as exact as single precision; the list grows with each measurement."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    calls: list[list[Product]] = []

    def measured(products: list[Product]) -> list[Measured]:
        calls.append(products)
        return [Measured("highest", 1.0, 2e-7), Measured("medium", 2.0, 3e-7)]

    monkeypatch.setattr(module, "measured", measured)
    monkeypatch.setattr("vae_lightning.runs.trainers.relative_error", lambda *_: 3e-7)
    return calls


def recorded(run: Path) -> str:
    precision: str = json.loads((run / "environment.json").read_text())["matmul_precision"]
    return precision


def test_auto_records_its_choice_and_changes_nothing_for_the_rest_of_the_process(
    composed: Compose, tmp_path: Path, chosen: list[list[Product]], caplog: pytest.LogCaptureFixture
) -> None:
    before, used = torch.get_float32_matmul_precision(), []
    hook = register_optimizer_step_pre_hook(lambda *_: used.append(torch.get_float32_matmul_precision()))
    with caplog.at_level(logging.INFO):
        train(composed(*TINY))
    hook.remove()
    assert recorded(tmp_path / "run") == "medium"
    assert set(used) == {"medium"}
    assert torch.get_float32_matmul_precision() == before
    assert "matrix products of medium precision: 2.0 times as fast as highest" in caplog.text
    # The rows of a batch, and the layers of both networks, the largest first.
    assert chosen == [[Product(1, 20, *sizes) for sizes in ((8, 784), (784, 8), (8, 40), (20, 8))]]


@pytest.mark.parametrize("wanted", PRECISIONS)
def test_a_precision_given_by_hand_is_used(composed: Compose, tmp_path: Path, wanted: str) -> None:
    train(composed(*TINY, f"trainer.matmul_precision={wanted}"))
    assert recorded(tmp_path / "run") == wanted


def test_a_run_that_resumes_keeps_its_precision(composed: Compose, tmp_path: Path, chosen: list[list[Product]]) -> None:
    train(composed(*TINY))
    environment = tmp_path / "run/environment.json"
    for stored, expected in (("highest", "highest"), ("medium", "medium"), (None, "highest")):
        content = json.loads(environment.read_text())
        content.pop("matmul_precision")
        environment.write_text(json.dumps(content | ({} if stored is None else {"matmul_precision": stored})))
        (tmp_path / "run/metrics.json").unlink()
        (tmp_path / "run/fit.json").unlink()
        train(composed(*TINY))
        assert recorded(tmp_path / "run") == expected


def test_an_inexact_precision_is_reported(
    composed: Compose, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("vae_lightning.runs.trainers.relative_error", lambda *_: 2e-3)
    train(composed(*TINY, "trainer.matmul_precision=medium"))
    assert "trainer.matmul_precision=medium: matrix products have a relative error of 2.0e-03 here" in caplog.text


def test_jobs_of_a_stack_record_the_precision_of_their_stack(command: Command, tmp_path: Path) -> None:
    options = [*SMALL, "callbacks.figures=null", "callbacks.probe=null", "trainer.matmul_precision=medium"]
    done = command("train", "-m", *options, "seed=1,2", "hydra/launcher=stacked", "sweep.name=s")
    assert done.returncode == 0, done.stderr
    assert {recorded(tmp_path / f"outputs/sweeps/s/seed={seed}") for seed in (1, 2)} == {"medium"}


@pytest.mark.parametrize(
    ("override", "allowed"),
    [
        ("trainer.matmul_precision=fast", "must be one of auto, highest, high, medium"),
        ("compile=fast", "must be one of False, True, max"),
    ],
)
def test_other_values_are_refused_in_one_line(command: Command, tmp_path: Path, override: str, allowed: str) -> None:
    done = command("train", override)
    assert (done.returncode, done.stderr) == (2, f"error: {override}: {allowed}\n")
    assert not any(tmp_path.iterdir())
