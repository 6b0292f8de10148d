"""A sweep trained as stacks leaves what the same sweep leaves when each job runs alone."""

import json
import shutil
import subprocess
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import SMALL, check_same_bits, kill_after, losses
from matplotlib.image import imread
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from warm_process import run_command

from vae_lightning.reports.results import read_jobs

EPOCHS = 4
TOLERANCE = 1e-7  # in double precision: 1e-15 grows tenfold or so an epoch
OPTIONS = [
    *SMALL,
    f"trainer.max_epochs={EPOCHS}",
    "data.val_size=3500",
    "callbacks.probe.every_n_epochs=2",
    "trainer.precision=64-true",  # so that only what is wrong differs, and not the order of sums
    "model.latent_dim=2,5",
    "optimizer=adam,adamw",
    "seed=${model.latent_dim}",
    "sweep.name=s",
]
STACKED = "hydra/launcher=stacked"
SECONDS = ("seconds", "fit_seconds", "total_seconds", "speed/step_seconds")
TIMES = ("speed/images_per_second", "seconds")  # measurements, which are never the same
OF_STACK = ("validated",)  # a checksum of the weights of all its models


def train_in(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_command("train", "-m", *arguments, cwd=folder)


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same four jobs in a stack, and each alone."""
    found = {}
    for name, launcher in (("stacked", [STACKED]), ("alone", [])):
        folder = tmp_path_factory.mktemp(name)
        done = train_in(folder, *OPTIONS, *launcher)
        assert done.returncode == 0, done.stdout + done.stderr
        found[name] = folder / "outputs/sweeps/s"
    return found


def check_close(found: Path, expected: Path) -> None:
    """A run's numbers, curves and checkpoints are those of another, but for the order of sums in double precision."""
    rows = [pd.read_csv(run / "metrics.csv") for run in (found, expected)]
    assert list(rows[0]) == list(rows[1])
    pd.testing.assert_frame_equal(*rows, rtol=TOLERANCE, check_exact=False)
    metrics = [json.loads((run / "metrics.json").read_text()) for run in (found, expected)]
    assert metrics[0].keys() == metrics[1].keys()
    for name in losses(metrics[0]):
        assert metrics[0][name] == pytest.approx(metrics[1][name], rel=TOLERANCE), name
    for which in ("last", "previous", "best"):
        contents = [torch.load(run / f"checkpoints/{which}.ckpt", weights_only=True) for run in (found, expected)]
        compare(contents[0], contents[1], which)


def compare(found: Any, expected: Any, path: str) -> None:
    assert type(found) is type(expected), path
    if isinstance(expected, dict):
        pairs = [
            {_without_folder(key): value for key, value in each.items() if key not in TIMES + OF_STACK}
            for each in (found, expected)
        ]
        assert list(pairs[0]) == list(pairs[1]), path
        for key, value in pairs[1].items():
            compare(pairs[0][key], value, f"{path}.{key}")
    elif isinstance(expected, list | tuple):
        assert len(found) == len(expected), path
        for index, value in enumerate(expected):
            compare(found[index], value, f"{path}.{index}")
    elif isinstance(expected, torch.Tensor):
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=TOLERANCE, msg=lambda text: f"{path}: {text}")
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, rel=TOLERANCE), path
    else:
        assert _without_folder(found) == _without_folder(expected), path


def check_same_picture(found: Any, expected: Any) -> None:
    """But for the rounding to whole grey values."""
    np.testing.assert_allclose(imread(found), imread(expected), atol=1.01 / 255)


def _without_folder(value: Any) -> Any:
    return value.rpartition("/sweeps/s/")[2] if isinstance(value, str) else value


def test_each_run_directory_holds_what_it_would_have_held_alone(sweeps: dict[str, Path]) -> None:
    jobs = sorted(file.parent.name for file in sweeps["alone"].glob("*/job.json"))
    assert len(jobs) == 4
    for job in jobs:
        stacked, alone = (sweeps[name] / job for name in ("stacked", "alone"))
        files = [
            {path.relative_to(run) for path in run.rglob("*") if path.is_file() and "tfevents" not in path.name}
            for run in (stacked, alone)
        ]
        assert files[0] == files[1] - {Path("train.log")}
        check_close(stacked, alone)
        curves = [EventAccumulator(str(run)).Reload() for run in (stacked, alone)]
        # A set: of two event files of one second the accumulator reads .10 before .9.
        assert set(curves[0].Tags()["scalars"]) == set(curves[1].Tags()["scalars"])
        for tag in set(curves[1].Tags()["scalars"]) - {*TIMES}:
            points = [
                [number for event in curve.Scalars(tag) for number in (event.step, event.value)] for curve in curves
            ]
            if tag.startswith("speed/"):
                assert points[0][::2] == points[1][::2]
            else:
                assert points[0] == pytest.approx(points[1], rel=1e-6), tag
        for kind in ("images", "histograms"):
            assert set(curves[0].Tags()[kind]) == set(curves[1].Tags()[kind])
        assert len(curves[1].Tags()["images"]) == 3
        for tag in curves[1].Tags()["images"]:
            for own, expected in zip(*(curve.Images(tag) for curve in curves), strict=True):
                assert own.step == expected.step
                check_same_picture(*(BytesIO(event.encoded_image_string) for event in (own, expected)))
        for name in ("reconstructions", "samples", "traversals", "curves"):
            check_same_picture(*(run / f"figures/{name}.png" for run in (stacked, alone)))
        descriptions = [json.loads((run / "job.json").read_text()) for run in (stacked, alone)]
        assert descriptions[0]["axes"] == descriptions[1]["axes"]
        assert json.loads((stacked / "environment.json").read_text())["stack"]["models"] == 4
    tables = [read_jobs(sweeps[name]).drop(columns=[*SECONDS]) for name in sweeps]
    pd.testing.assert_frame_equal(*tables, rtol=TOLERANCE, check_exact=False)


@pytest.mark.slow
@pytest.mark.parametrize(("first", "then"), [("stacked", "alone"), ("alone", "stacked")])
def test_what_a_stack_began_goes_on_alone_and_the_other_way_round(
    first: str, then: str, sweeps: dict[str, Path], tmp_path: Path
) -> None:
    sweep = tmp_path / "outputs/sweeps/s"
    shutil.copytree(sweeps[first], sweep)
    for job in sweep.glob("*/metrics.json"):  # to where each was before its last epoch
        job.unlink()
        shutil.move(job.parent / "checkpoints/previous.ckpt", job.parent / "checkpoints/last.ckpt")
    done = train_in(tmp_path, *OPTIONS, *([STACKED] if then == "stacked" else []))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"epoch {EPOCHS}/{EPOCHS}" in done.stdout
    assert f"epoch {EPOCHS - 1}/{EPOCHS}" not in done.stdout
    for job in sweeps["alone"].glob("*/metrics.json"):
        shutil.copy(sweep / job.parent.name / "checkpoints/last.ckpt", tmp_path)
        shutil.copy(job.parent / "checkpoints/previous.ckpt", sweep / job.parent.name / "checkpoints")
        check_close(sweep / job.parent.name, job.parent)


QUICK = [*SMALL, "data.val_size=3500", "callbacks.probe.max_iter=20", "callbacks.figures=null", "sweep.name=s", STACKED]
ONE = ["trainer.max_epochs=1"]
LONG = [*QUICK, "trainer.max_epochs=12", "model.latent_dim=2,5", "optimizer.lr=1e-3,3e-3"]


@pytest.mark.slow
def test_a_killed_stack_goes_on_and_ends_with_the_same_bits(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    whole.mkdir()
    killed.mkdir()
    assert train_in(whole, *LONG).returncode == 0
    kill_after(5, killed, "-m", *LONG)
    sweep = killed / "outputs/sweeps/s"
    assert read_jobs(sweep)["status"].tolist() == ["unfinished"] * 4
    # As if the kill had come when one of them had not yet saved its epoch.
    late = sorted(sweep.glob("*/checkpoints/last.ckpt"))[2]
    shutil.move(late.with_name("previous.ckpt"), late)
    done = train_in(killed, *LONG)
    assert done.returncode == 0, done.stderr
    assert "the stack resumes after epoch" in done.stdout
    assert "stack 1 of 1: 4 models" in done.stdout
    for job in (whole / "outputs/sweeps/s").glob("*/metrics.json"):
        check_same_bits(sweep / job.parent.name, job.parent)
    again = train_in(killed, *LONG)
    assert "4 of 4 jobs are complete" in again.stdout


def test_a_job_that_diverges_fails_by_itself(tmp_path: Path) -> None:
    done = train_in(tmp_path, *QUICK, "optimizer.lr=1e-3,1e30,3e-3")
    assert done.returncode == 1
    assert "failed     outputs/sweeps/s/lr=1e+30: FloatingPointError: the loss is" in done.stderr
    assert "with optimizer.lr=1e+30" in done.stderr
    sweep = tmp_path / "outputs/sweeps/s"
    assert read_jobs(sweep).set_index("job")["status"].to_dict() == {
        "lr=0.001": "complete",
        "lr=0.003": "complete",
        "lr=1e+30": "failed",
    }
    sick = sweep / "lr=1e+30"
    assert "Traceback" in (sick / "train.log").read_text()
    assert not (sick / "checkpoints").exists()


@pytest.mark.slow
def test_jobs_are_grouped_by_what_they_have_in_common_and_the_log_says_why_not(tmp_path: Path) -> None:
    axes = ["model.latent_dim=2,3,4,5", "model.widths=[16]"]
    done = train_in(tmp_path, *QUICK, *ONE, *axes, "hydra.launcher.max_stack=3")
    assert "stack 1 of 2: 2 models" in done.stdout
    assert "stack 2 of 2: 2 models" in done.stdout
    done = train_in(tmp_path, *QUICK, *ONE, "model.latent_dim=2", "model.widths=[16],[32]", "sweep.name=two")
    assert done.stdout.count(" runs alone") == 2, done.stdout
    assert "because no other job can share its stack" in done.stdout
    own = ["+callbacks.stop._target_=lightning.pytorch.callbacks.EarlyStopping", "+callbacks.stop.monitor=val/loss"]
    done = train_in(tmp_path, *QUICK, *ONE, *own, "model.latent_dim=2,5", "sweep.name=own")
    assert done.returncode == 0, done.stderr
    why = "runs alone (callbacks.stop._target_=lightning.pytorch.callbacks.EarlyStopping: must be a callback"
    assert done.stdout.count(why) == 2, done.stdout
    assert read_jobs(tmp_path / "outputs/sweeps/own")["status"].tolist() == ["complete"] * 2


@pytest.mark.usefixtures("no_torch")
@pytest.mark.parametrize("value", ["0", "-1", "many", "1.5"])
def test_bad_sizes_of_stacks_are_refused(value: str, tmp_path: Path) -> None:
    done = train_in(tmp_path, *QUICK, "model.latent_dim=2,5", f"hydra.launcher.max_stack={value}")
    assert done.returncode == 2
    expected = f"error: hydra.launcher.max_stack={value}: must be a whole number of at least 1, or null"
    assert done.stderr.strip() == expected
    assert list(tmp_path.iterdir()) == []
