"""A search: its number of trials, and trials that were cut off."""

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest
from conftest import SMALL, Command, Compose, fake_job, kill_after

from vae_lightning.runs.directory import locked
from vae_lightning.sweeps.callback import SweepCallback


def study_of(sweep: Path) -> optuna.Study:
    """The study as it is stored; an object that is older has a memory of its own."""
    sweep.mkdir(parents=True, exist_ok=True)
    return optuna.create_study(storage=f"sqlite:///{sweep}/study.db", study_name="s", load_if_exists=True)


def states(sweep: Path) -> list[str]:
    return [trial.state.name for trial in study_of(sweep).trials]


def begin(study: optuna.Study, latent_dim: int) -> optuna.Trial:
    """Begin a trial with the next parameters of the queue, or else with this one."""
    trial = study.ask()
    trial.suggest_int("model.latent_dim", latent_dim, latent_dim)
    return trial


def trials_to_go(multirun: Compose, n_trials: int) -> int:
    """The number of trials that the sweeper is given."""
    config: Any = multirun("experiment=search", "data=mnist_5k", f"hydra.sweeper.n_trials={n_trials}")
    SweepCallback().on_multirun_start(config)
    number: int = config.hydra.sweeper.n_trials
    return number


def test_a_search_that_is_started_again_has_its_trials_in_total(multirun: Compose, tmp_path: Path) -> None:
    assert trials_to_go(multirun, 6) == 6
    study = study_of(tmp_path / "s")
    for value in (1.0, 2.0, None, 3.0):  # a failed trial is one too; all have one folder, as the same parameters have
        trial = begin(study, latent_dim=5)
        study.tell(trial, value, optuna.trial.TrialState.FAIL if value is None else optuna.trial.TrialState.COMPLETE)
    fake_job(tmp_path / "s", {"latent_dim": 5}, **{"val/loss": 1.0})
    assert [trials_to_go(multirun, n_trials) for n_trials in (6, 6, 4, 2)] == [2, 2, 0, 0]


def test_a_trial_that_was_cut_off_is_run_again_and_counts_once(multirun: Compose, tmp_path: Path) -> None:
    sweep = tmp_path / "s"
    study = study_of(sweep)
    study.tell(begin(study, latent_dim=5), 1.0)
    begin(study, latent_dim=7)
    job = fake_job(sweep, {"latent_dim": 7})
    with locked(job):  # by another process that takes part in the search
        assert trials_to_go(multirun, 3) == 2
    assert states(sweep) == ["COMPLETE", "RUNNING"]
    assert trials_to_go(multirun, 3) == 2
    assert states(sweep) == ["COMPLETE", "FAIL", "WAITING"]
    again = begin(study_of(sweep), latent_dim=7)
    assert (again.number, again.params) == (2, {"model.latent_dim": 7})
    assert trials_to_go(multirun, 3) == 2  # cut off once more
    assert states(sweep) == ["COMPLETE", "FAIL", "FAIL", "WAITING"]
    study = study_of(sweep)
    study.tell(begin(study, latent_dim=7), 2.0)
    study.tell(begin(study, latent_dim=9), 3.0)
    assert trials_to_go(multirun, 3) == 0


@pytest.mark.parametrize(
    ("given", "refused"),
    [
        ("data.val_size=0", "sweep.objective=val/loss: must be a metric of training, because data.val_size=0"),
        ("trainer.limit_val_batches=0", "must be a metric of training, because trainer.limit_val_batches=0"),
        ("sweep.objective=val/los", "there is no such name; did you mean val/loss?"),
        ("callbacks.probe=null sweep.objective=probe/val_acc", "there is no such name"),
        ("data.val_size=0 sweep.objective=train/loss", None),
        ("trainer.limit_val_batches=0 sweep.objective=probe/val_acc", None),
        ("data.val_size=0,3000", None),  # a trial may have what another lacks
        ("model._target_=mine.VAE sweep.objective=val/mine", None),
    ],
)
def test_an_objective_that_no_trial_can_have_is_refused_before_the_first(
    given: str, refused: str | None, multirun: Compose, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config: Any = multirun("experiment=search", "data=mnist_5k", *given.split())
    with nullcontext() if refused is None else pytest.raises(SystemExit):
        SweepCallback().on_multirun_start(config)
    error = capsys.readouterr().err
    assert (refused or "") in error
    assert error.count("\n") == (refused is not None)
    assert (tmp_path / "s").exists() == (refused is None)


@pytest.mark.slow
def test_a_search_that_was_killed_in_a_trial_is_finished_by_the_same_command(command: Command, tmp_path: Path) -> None:
    options = [*SMALL, "experiment=search", "sweep.name=s", "trainer.max_epochs=3", "callbacks.figures=null"]
    search = ["-m", *options, "hydra.sweeper.n_trials=3"]
    for epochs in (2, 3):  # in the first trial, and in the second
        kill_after(epochs, tmp_path, *search)
    sweep = tmp_path / "outputs/sweeps/s"
    for _ in range(2):
        done = command("train", *search)
        assert done.returncode == 0, done.stderr
        assert states(sweep).count("COMPLETE") == 3
        assert {"RUNNING", "WAITING"}.isdisjoint(states(sweep))
        table = pd.read_csv(sweep / "results.csv")
        assert set(table["status"]) == {"complete"}
        complete = study_of(sweep).get_trials(states=(optuna.trial.TrialState.COMPLETE,))
        assert sorted(table["val/loss"]) == sorted({trial.values[0] for trial in complete})
