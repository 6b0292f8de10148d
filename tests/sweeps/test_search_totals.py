"""The number of trials and the time of a search, over all its calls; and studies of Optuna 2."""

import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from conftest import Command
from searching import JOB, Begin, counted, own_study, results, states

pytestmark = pytest.mark.slow

OLD_STUDY = Path(__file__).parents[1] / "stored/old_study.sql"


def test_the_number_of_trials_is_a_total_that_may_be_raised(tmp_path: Path, search: Begin) -> None:
    for wanted, found in ((2, 2), (5, 5), (5, 5), (3, 5)):
        search(tmp_path, f"hydra.sweeper.n_trials={wanted}").end()
        trials = counted(own_study(tmp_path))
        assert states(trials) == ["COMPLETE"] * found
        assert len(results(tmp_path)) == found
    search(tmp_path / "at_once", "hydra.sweeper.n_trials=5").end()
    at_once = counted(own_study(tmp_path / "at_once"))
    assert [trial.params for trial in trials] == [trial.params for trial in at_once]


def test_the_time_is_a_total_over_all_calls(tmp_path: Path, search: Begin) -> None:
    options = ["hydra.sweeper.timeout=6", "hydra.sweeper.n_trials=500"]
    assert "no more trials: hydra.sweeper.timeout=6 s have passed" in search(tmp_path, *options).end()
    trials = counted(own_study(tmp_path))
    assert {*states(trials)} == {"COMPLETE"}
    assert 1 <= len(trials) < 100
    assert "no more trials: hydra.sweeper.timeout=6 s have passed" in search(tmp_path, *options).end()
    assert counted(own_study(tmp_path)) == trials
    search(tmp_path, "hydra.sweeper.timeout=600", f"hydra.sweeper.n_trials={len(trials) + 1}").end()
    assert len(counted(own_study(tmp_path))) == len(trials) + 1


def test_a_study_of_optuna_2_goes_on_once_it_is_upgraded(tmp_path: Path, command: Command) -> None:
    sweep = tmp_path / "outputs/sweeps/search"
    sweep.mkdir(parents=True)
    study = sweep / "study.db"
    with sqlite3.connect(study) as connection:
        connection.executescript(OLD_STUDY.read_text())
    connection.close()
    before = study.read_bytes()
    options = ["-m", "experiment=search", *JOB, "sweep.name=search", "hydra.sweeper.n_trials=5"]
    refused = command("train", *options)
    assert refused.returncode == 2
    upgrade = re.fullmatch(
        r"error: hydra\.sweeper\.storage=\S+: was written by another version of Optuna; "
        r"optuna (storage upgrade --storage \S+) updates it, and another \S+ or sweep\.name begins anew\n",
        refused.stderr,
    )
    assert upgrade is not None, refused.stderr
    assert [*sweep.iterdir()] == [study]
    assert study.read_bytes() == before
    optuna = [sys.executable, "-c", "from optuna.cli import main; main()", *upgrade[1].split()]
    subprocess.run(optuna, cwd=tmp_path, check=True, capture_output=True)
    done = command("train", *options)
    assert done.returncode == 0, done.stderr
    trials = counted(f"sqlite:///{study}", "search")
    assert states(trials) == ["COMPLETE"] * 5
    assert [trial.params["model.latent_dim"] for trial in trials[:3]] == [15, 16, 25]  # as they are stored
    assert [bool(trial.user_attrs.get("jobs")) for trial in trials] == [False] * 3 + [True] * 2
    assert len(pd.read_csv(sweep / "trials.csv")) == 5
