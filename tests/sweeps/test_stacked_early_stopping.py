"""Early stopping in a stack: each run stops as it would alone, and the others go on."""

import time
from pathlib import Path

import pytest
import torch
from conftest import Command, losses, metrics_of
from warm_process import begin_command

STOPPING = [
    *("data=mnist_5k", "trainer=cpu", "data.val_size=3000", "trainer.precision=64-true", "model.widths=[16]"),
    *("trainer.max_epochs=12", "callbacks.probe=null", "callbacks.figures=null", "callbacks=early_stopping"),
    *("callbacks.early_stopping.patience=1", "callbacks.early_stopping.min_delta=3"),
]


def stacked(command: Command, *options: str) -> Path:
    done = command("train", "-m", *STOPPING, "optimizer.lr=1e-2,3e-3,3e-2", "sweep.name=s", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    return Path("outputs/sweeps/s")


@pytest.mark.parametrize("restore", ["true", pytest.param("false", marks=pytest.mark.slow)])
def test_each_run_stops_as_it_would_alone(restore: str, command: Command, tmp_path: Path) -> None:
    options = [f"callbacks.early_stopping.restore_best={restore}"]
    sweep = tmp_path / stacked(command, "hydra/launcher=stacked", *options)
    stopped = set()
    for lr in ("0.01", "0.003", "0.03"):
        done = command("train", *STOPPING, *options, f"optimizer.lr={lr}", f"hydra.run.dir=alone_{lr}")
        assert done.returncode == 0, done.stderr
        found, expected = losses(metrics_of(sweep / f"lr={lr}")), losses(metrics_of(tmp_path / f"alone_{lr}"))
        assert found == pytest.approx(expected, rel=1e-9)
        assert ("restored/epoch" in found) == (restore == "true")
        stopped.add(found.get("stopped/epoch"))
        last = [
            torch.load(run / "checkpoints/last.ckpt", weights_only=True)
            for run in (sweep / f"lr={lr}", tmp_path / f"alone_{lr}")
        ]
        assert [each.get("restored") for each in last] == [last[1].get("restored")] * 2
        for name, weight in last[1]["state_dict"].items():
            torch.testing.assert_close(last[0]["state_dict"][name], weight)
        assert (sweep / f"lr={lr}" / "metrics.csv").read_text().count("\n") == (
            tmp_path / f"alone_{lr}" / "metrics.csv"
        ).read_text().count("\n")
    assert len(stopped) > 1, "all stop at the same epoch, so that none leaves before others"


@pytest.mark.slow
def test_runs_that_have_stopped_stay_so_after_a_kill(command: Command, tmp_path: Path) -> None:
    sweep = tmp_path / "outputs/sweeps/s"
    options = ["-m", *STOPPING, "optimizer.lr=1e-2,3e-3,3e-2", "hydra/launcher=stacked", "sweep.name=s"]
    log = tmp_path / "log"
    killed = begin_command("vae_lightning.commands.train", *options, cwd=tmp_path, out=log, err=log)
    while not (stopped := [*sweep.glob("*/fit.json")]):
        assert killed.is_alive(), log.read_text()
        time.sleep(0.01)
    killed.kill()
    killed.join()
    assert not [*sweep.glob("*/metrics.json")], "the kill came too late"
    ended = {file: file.read_text() for file in stopped}
    stacked(command, "hydra/launcher=stacked")
    assert {file: file.read_text() for file in stopped} == ended
    resumed = {job.name: losses(metrics_of(job)) for job in sweep.glob("lr=*")}
    stacked(command, "hydra/launcher=stacked", "sweep.name=whole")
    whole = {job.name: losses(metrics_of(job)) for job in (tmp_path / "outputs/sweeps/whole").glob("lr=*")}
    assert resumed.keys() == whole.keys()
    for name, found in resumed.items():
        assert found == pytest.approx(whole[name], rel=1e-9)
