"""Sweeps on Ray and submitit: real clusters of this machine's processes, and workers killed in the middle of a job."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import SMALL, TRAIN, Command

from vae_lightning.commands.command import CONF

LONG = [*SMALL, "trainer.max_epochs=60", "callbacks.probe.max_iter=20", "callbacks.figures=null", "sweep.name=s"]
RAY = [sys.executable, "-m", "ray.scripts.scripts"]


def environments(sweep: Path) -> list[dict[str, Any]]:
    return [json.loads(file.read_text()) for file in sweep.glob("*/environment.json")]


def sweep_with_a_death(tmp_path: Path, *arguments: str) -> tuple[subprocess.CompletedProcess[str], Path]:
    """Run a sweep and kill without warning the worker of the first of its jobs to have a checkpoint."""
    sweep = tmp_path / "outputs/sweeps/s"
    command = [*TRAIN, "-m", *LONG, *arguments]
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        while not (checkpoints := list(sweep.glob("*/checkpoints/last.ckpt"))) and process.poll() is None:
            time.sleep(0.05)
        job = checkpoints[0].parents[1]
        os.kill(json.loads((job / "environment.json").read_text())["process"], signal.SIGKILL)
        output, _ = process.communicate(timeout=400)
    return subprocess.CompletedProcess(command, process.returncode, output), job


def check_death_and_completion(tmp_path: Path, command: Command, *arguments: str) -> None:
    done, killed = sweep_with_a_death(tmp_path, *arguments)
    sweep = killed.parent
    assert done.returncode == 1, done.stdout
    table = pd.read_csv(sweep / "results.csv").set_index("job")
    assert table["status"].drop(killed.name).tolist() == ["complete"] * (len(table) - 1)
    assert table.loc[killed.name, "status"] == "failed"
    assert "its worker died" in table.loc[killed.name, "why"]
    assert f"failed     outputs/sweeps/s/{killed.name}: its worker died" in done.stdout
    # Two cores, and jobs that ask for one each.
    assert {environment["machine"]["threads"] for environment in environments(sweep)} == {1}
    again = command("train", "-m", *LONG, *arguments, timeout=400)
    assert again.returncode == 0, again.stdout + again.stderr
    assert set(pd.read_csv(sweep / "results.csv")["status"]) == {"complete"}
    rows = pd.read_csv(killed / "metrics.csv")
    assert rows["epoch"].tolist() == list(range(61))
    assert "resumes after epoch" in (killed / "train.log").read_text()


@pytest.mark.slow
def test_a_killed_worker_of_submitit_is_told_of_and_the_sweep_goes_on(tmp_path: Path, command: Command) -> None:
    check_death_and_completion(
        tmp_path, command, "hydra/launcher=submitit_local", "hydra.launcher.array_parallelism=2", "seed=1,2,3"
    )


def test_a_preset_is_ours_wherever_our_plugins_are_on_the_path(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = CONF.parent / "vae_lightning/_plugins"
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(first), os.environ.get("PYTHONPATH", "")]))
    done = command("train", "hydra/launcher=submitit_local", "--cfg", "hydra", "--package", "hydra.launcher")
    assert done.returncode == 0, done.stderr
    assert "array_parallelism" in done.stdout


SLURM = {
    # Runs the script in the background, as a job of one task.
    "sbatch": """#!/bin/bash
id=$((RANDOM + 1000))
cp "$1" "$FAKE_SLURM/$id.sh"
echo RUNNING > "$FAKE_SLURM/$id.state"
export SLURM_JOB_ID=$id SLURM_JOB_NUM_NODES=1 SLURM_JOB_NODELIST=localhost SLURM_JOB_NAME=vae
export SLURM_NTASKS=1 SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_NODEID=0
(bash "$FAKE_SLURM/$id.sh"; [ $? = 0 ] && state=COMPLETED || state=FAILED; echo $state > "$FAKE_SLURM/$id.state") \\
    < /dev/null > /dev/null 2>&1 &
echo "Submitted batch job $id"
""",
    "srun": """#!/bin/bash
while [[ $1 == -* ]]; do
    case $1 in --output | --error) shift ;; esac
    shift
done
exec "$@"
""",
    "sacct": """#!/bin/bash
echo "JobID|State|NodeList"
for file in "$FAKE_SLURM"/*.state; do
    echo "$(basename "$file" .state)|$(cat "$file")|localhost"
done
""",
}


@pytest.mark.slow
def test_jobs_in_slurms_queue(tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """SLURM's commands are played by scripts, its jobs are real processes."""
    (tmp_path / "bin").mkdir()
    for name, script in SLURM.items():
        (tmp_path / "bin" / name).write_text(script)
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("FAKE_SLURM", str(tmp_path / "bin"))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    options = ["hydra/launcher=submitit_slurm", "hydra.launcher.partition=fast", "hydra.launcher.cpus_per_task=1"]
    check_death_and_completion(tmp_path, command, *options, "seed=1,2")
    script = next((tmp_path / "bin").glob("*.sh")).read_text()
    assert "#SBATCH --partition=fast" in script
    assert "#SBATCH --cpus-per-task=1" in script
    assert all("SLURM_JOB_ID" in environment["engine"] for environment in environments(tmp_path / "outputs/sweeps/s"))


@pytest.fixture
def ray_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a Ray cluster of a head and a second node, one CPU each."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "0123456789abcdef0123456789abcdef")
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    start = [*RAY, "start", "--num-cpus", "1", "--disable-usage-stats"]
    port = address.partition(":")[2]
    nodes = [["--head", "--port", port, "--include-dashboard=false"], ["--address", address]]
    try:
        for number, options in enumerate(nodes, 1):
            started = subprocess.run(
                [*start, *options, "--node-ip-address", f"127.0.0.{number}"], capture_output=True, text=True
            )
            assert started.returncode == 0, started.stdout + started.stderr
        yield address
    finally:
        subprocess.run([*RAY, "stop", "--force"], capture_output=True)


@pytest.mark.slow
def test_a_ray_cluster_shares_the_jobs_and_outlives_a_worker(
    tmp_path: Path, command: Command, ray_cluster: str
) -> None:
    check_death_and_completion(
        tmp_path, command, "hydra/launcher=ray", f"hydra.launcher.ray.init.address={ray_cluster}", "seed=1,2,3,4"
    )
    sweep = tmp_path / "outputs/sweeps/s"
    assert len({environment["engine"]["RAY_RAYLET_PID"] for environment in environments(sweep)}) == 2
