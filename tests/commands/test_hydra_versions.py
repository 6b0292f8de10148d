"""Hydra of this environment and the next one: a run and a sweep work in both, and do nothing that they warn of."""

import subprocess
from pathlib import Path

import pandas as pd
import pytest
from conftest import TRAIN, Command

NEXT = Path(__file__).parents[2] / ".venv-next/bin/python"
SMALLEST = ["data=mnist_5k", "trainer=cpu", "debug=fast", "callbacks.probe=null", "callbacks.figures=null"]


def test_a_run_and_a_sweep_print_no_warning(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Hydra's own warnings become errors, as in its next version; others, such as OmegaConf's, would be printed.
    monkeypatch.setenv("HYDRA_DEPRECATION_WARNINGS_AS_ERRORS", "1")
    run = command("train", *SMALLEST, "hydra.run.dir=run")
    sweep = command("train", "-m", *SMALLEST, "seed=1,2", "sweep.name=s")
    for done in (run, sweep):
        assert done.returncode == 0, done.stdout + done.stderr
        assert done.stderr == ""
        assert "Warning" not in done.stdout
    assert (tmp_path / "run/metrics.json").exists()
    assert sorted(pd.read_csv(tmp_path / "outputs/sweeps/s/results.csv")["job"]) == ["seed=1", "seed=2"]


@pytest.mark.slow
def test_workers_that_find_the_plugins_themselves_print_no_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYDRA_DEPRECATION_WARNINGS_AS_ERRORS", "1")
    sweep = [*TRAIN, "-m", *SMALLEST, "seed=1,2", "hydra/launcher=joblib"]
    done = subprocess.run(sweep, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert "Warning" not in done.stdout


def test_a_refused_sweep_writes_nothing_and_has_no_report(command: Command, tmp_path: Path) -> None:
    done = command("train", "-m", *SMALLEST, "seed=1,-2", "sweep.name=s")
    assert done.returncode == 2
    assert done.stderr == "error: seed=-2: must be a whole number from 0 to 4294967295\n"
    assert "report" not in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.skipif(not NEXT.exists(), reason="there is no .venv-next, which make test-next creates")
def test_the_next_version_of_hydra_runs_them_too() -> None:
    tests = [str(NEXT), "-m", "pytest", "-q", "-k", "not next", __file__]
    done = subprocess.run(tests, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout
    assert "3 passed" in done.stdout
