"""Searches with real launchers: several jobs at a time, pruning in their processes, and interruptions."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from conftest import TRAIN
from searching import JOB, SWEEP, Begin, counted, own_study, results, states

pytestmark = pytest.mark.slow

LAUNCHERS = {
    "joblib": ["hydra.launcher.n_jobs=2"],
    "submitit_local": ["hydra.launcher.array_parallelism=2"],
    "ray": ["+hydra.launcher.ray.init.num_cpus=2"],
}

# Prunes a trial that has not learnt anything after two epochs.
PRUNER = ["hydra/sweeper/pruner=threshold", "hydra.sweeper.pruner.upper=500", "hydra.sweeper.pruner.n_warmup_steps=2"]


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_a_new_trial_begins_when_one_ends_and_is_pruned_where_it_runs(
    launcher: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))  # of Ray's token
    # The first trial is long, and every second one is pruned.
    order = ["hydra/sweeper=grid", "trainer.max_epochs=400,3,4", "optimizer.lr=1e-2,1e-6"]
    command = [*TRAIN, "-m", *JOB, *order, *PRUNER, f"hydra/launcher={launcher}", *LAUNCHERS[launcher]]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    trials = counted(own_study(tmp_path), "grid")
    assert states(trials) == ["COMPLETE", "PRUNED"] * 3
    assert sorted(results(tmp_path)["status"]) == ["complete"] * 3 + ["pruned"] * 3
    moments = [(trial.datetime_start, trial.datetime_complete) for trial in trials]
    begins, ends = ([moment for moment in each if moment is not None] for each in zip(*moments, strict=True))
    at_once = [sum(begin <= moment < end for begin, end in zip(begins, ends, strict=True)) for moment in begins]
    assert max(at_once) == 2
    assert sum(end < ends[0] for end in ends) >= 3, "the long trial holds the others up"


@pytest.mark.parametrize("launcher", ["basic", "stacked", "submitit_local"])
def test_ctrl_c_ends_a_search_in_one_line_and_leaves_no_process_behind(launcher: str, tmp_path: Path) -> None:
    options = ["experiment=search", *JOB, f"hydra/launcher={launcher}", *LAUNCHERS.get(launcher, [])]
    command = [*TRAIN, "-m", *options, "trainer.max_epochs=5000"]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        while not [*(tmp_path / SWEEP).glob("*/checkpoints/last.ckpt")]:
            assert process.poll() is None
            time.sleep(0.1)
        assert len(processes_in(tmp_path)) >= (3 if launcher == "submitit_local" else 1)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert re.fullmatch(r"Interrupt: vae-train .*experiment=search .* resumes the sweep\n", said)
    until = time.monotonic() + 10
    while (left := processes_in(tmp_path)) and time.monotonic() < until:
        time.sleep(0.1)
    assert left == []
    assert states(counted(own_study(tmp_path)))[0] == "RUNNING"


def processes_in(folder: Path) -> list[str]:
    """The command lines of the processes that were started in a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink() == folder:
                found.append((process / "cmdline").read_text())
        except OSError:  # it has ended, or belongs to another user
            continue
    return found


def test_a_trial_in_two_processes_is_pruned_in_both(tmp_path: Path, search: Begin) -> None:
    two = ["trainer=ddp_cpu", "trainer.devices=2", "trainer.max_epochs=5"]
    lr = ["hydra.sweeper.params=null", "optimizer.lr=1e-6,1e-2", "hydra/sweeper/sampler=grid"]
    search(tmp_path, *two, *PRUNER, *lr).end()
    trials = counted(own_study(tmp_path))
    assert {trial.params["optimizer.lr"]: trial.state.name for trial in trials} == {1e-6: "PRUNED", 1e-2: "COMPLETE"}
    pruned = next(trial for trial in trials if trial.state.name == "PRUNED")
    assert [*pruned.intermediate_values] == [1, 2]  # one report an epoch, of one process
    assert sorted(results(tmp_path)["status"]) == ["complete", "pruned"]
    assert processes_in(tmp_path) == []
