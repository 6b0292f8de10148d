"""A search: its trials, in total and after a kill; its jobs, seeds and objectives; what it refuses."""

import logging
import statistics
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
import untrained
from conftest import SMALL, Command, Compose
from hydra.core.global_hydra import GlobalHydra
from omegaconf import open_dict
from untrained import COMPLETE, EPOCHS, FAILED, PRUNED, SPACE, Storage, Untrained, chosen, states, until_complete

from vae_lightning import InputError
from vae_lightning.config.errors import IncompatibleError
from vae_lightning.runs.directory import read_json
from vae_lightning.sweeps import search
from vae_lightning.sweeps.callback import SweepCallback
from vae_lightning.sweeps.jobs import STOPPED
from vae_lightning.sweeps.running import run_search
from vae_lightning.sweeps.study import open_study


@pytest.fixture(autouse=True)
def _composed_in_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "checked_job", untrained.checked_job)


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> Storage:
    """The studies of all searches, in memory."""
    return untrained.stored_in_memory(monkeypatch)


@pytest.fixture
def jobs(tmp_path: Path) -> Untrained:
    return Untrained(tmp_path / "s")


def study_in(storage: Storage) -> optuna.Study:
    return optuna.load_study(study_name="s", storage=storage)


# Trials that a sampler chooses.

SAMPLERS = ("random", "tpe", "gp", "cmaes", "qmc", "nsgaii", "nsgaiii", "grid")
# So few trials are enough for each to choose by those before.
EARLY: dict[str, dict[str, Any]] = {"tpe": {"n_startup_trials": 3}, "gp": {"n_startup_trials": 4}}
EARLY |= {"nsgaii": {"population_size": 3}, "nsgaiii": {"population_size": 3}}
FINITE = ["model.latent_dim=range(2,5)", "optimizer.lr=1e-3,1e-2"]


def begin(jobs: Untrained, sampler: str, n_trials: int, **given: Any) -> None:
    space = FINITE if sampler == "grid" else SPACE
    jobs.run(space, **{"sampler": sampler, "n_trials": n_trials, "sampler_": EARLY.get(sampler, {}), **given})


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_search_of_several_commands_chooses_what_one_would_have_chosen(
    sampler: str, storage: Storage, tmp_path: Path
) -> None:
    found: list[list[list[str]]] = []
    for place, totals in enumerate(([6], [1, 2, 5, 6, 6])):
        storage.__init__()  # type: ignore[misc]
        jobs = Untrained(tmp_path / str(place))
        for n_trials in totals:
            begin(jobs, sampler, n_trials)
            assert states(study_in(storage)) == [COMPLETE] * n_trials
        assert len(jobs.launched) == 6
        found.append(chosen(study_in(storage)))
    assert found[0] == found[1]
    assert len({tuple(values) for values in found[0]}) == 6


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_search_that_was_killed_between_two_writes_chooses_what_it_would_have_chosen(
    sampler: str, storage: Storage, tmp_path: Path
) -> None:
    whole = Untrained(tmp_path / "whole")
    begin(whole, sampler, 6)
    expected, writes = chosen(study_in(storage)), storage.writes
    assert writes > 6 * EPOCHS
    for number in range(writes * 2 // 6, writes * 5 // 6, 7 if sampler in ("gp", "cmaes", "qmc") else 3):
        storage.__init__()  # type: ignore[misc]
        jobs = Untrained(tmp_path / str(number))
        assert until_complete(lambda jobs=jobs: begin(jobs, sampler, 6), storage, [number, 7]) == 2  # type: ignore[misc]
        assert chosen(study_in(storage)) == expected, number
        assert states(study_in(storage)) == [COMPLETE] * 6


def test_a_grid_of_a_sampler_has_each_combination_once(storage: Storage, jobs: Untrained) -> None:
    begin(jobs, "grid", 20)
    assert {tuple(values) for values in chosen(study_in(storage))} == {
        (f"model.latent_dim={dim}", f"optimizer.lr={lr}") for dim in (2, 3, 4) for lr in ("0.001", "0.01")
    }
    assert len(jobs.launched) == 6


def test_other_seeds_choose_other_values(storage: Storage, tmp_path: Path) -> None:
    found: list[list[list[str]]] = []
    for seed in (1, 2, 2):
        storage.__init__()  # type: ignore[misc]
        begin(Untrained(tmp_path / f"{len(found)}"), "random", 3, sampler_={"seed": seed})
        found.append(chosen(study_in(storage)))
    assert found[0] != found[1] == found[2]


# The number of trials.


def test_n_trials_is_a_total_over_all_commands_and_failures(storage: Storage, jobs: Untrained) -> None:
    jobs.outcome = lambda values: "it broke" if len(jobs.launched) == 2 else {"val/loss": 1.0}
    assert [len(jobs.run(n_trials=n_trials)) for n_trials in (3, 3, 5, 2)] == [3, 0, 2, 0]
    assert states(study_in(storage)) == [COMPLETE, FAILED, COMPLETE, COMPLETE, COMPLETE]
    assert study_in(storage).trials[1].user_attrs["why"] == "it broke"


def test_no_trial_begins_once_too_many_have_failed(
    storage: Storage, jobs: Untrained, caplog: pytest.LogCaptureFixture
) -> None:
    jobs.outcome = lambda values: "it broke" if len(jobs.launched) > 2 else {"val/loss": 1.0}
    assert len(jobs.run(n_trials=9, max_failure_rate=0.5)) == 5
    assert "no more trials: 3 of 5 have failed (hydra.sweeper.max_failure_rate=0.5)" in caplog.text
    assert jobs.run(n_trials=9, max_failure_rate=0.5) == []
    assert len(jobs.run(n_trials=9)) == 4


def each_job_takes(seconds: float, jobs: Untrained, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let time pass in jobs alone; return the clock."""
    clock = [0.0]
    monkeypatch.setattr(search, "time", SimpleNamespace(monotonic=lambda: clock[0], time=lambda: clock[0]))

    def outcome(values: Mapping[str, str]) -> Mapping[str, float]:
        clock[0] += seconds
        return {"val/loss": 1.0}

    jobs.outcome = outcome
    return clock


@pytest.mark.parametrize("seconds", [0.0, 1e-3])
def test_no_trial_begins_after_the_time_of_all_commands(
    seconds: float, storage: Storage, jobs: Untrained, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = each_job_takes(10, jobs, monkeypatch)
    caplog.set_level(logging.INFO)
    assert len(jobs.run(n_trials=20, timeout=35)) == 4
    assert "no more trials: hydra.sweeper.timeout=35 s have passed" in caplog.text
    clock[0] += 1000  # between the commands
    assert len(jobs.run(n_trials=20, timeout=40 + seconds)) == (1 if seconds else 0)
    assert len(jobs.run(n_trials=20, timeout=75)) == 4 - (seconds > 0)


def test_it_says_how_long_the_trials_that_are_left_may_take(
    storage: Storage, jobs: Untrained, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    each_job_takes(20, jobs, monkeypatch)
    with caplog.at_level(logging.INFO):
        jobs.run(n_trials=5)
    begun = [text for text in caplog.messages if " of 5" in text]
    assert [text.partition(")")[0].partition("(")[2] for text in begun] == [
        *("1 of 5", "2 of 5, about 1 min left", "3 of 5, about 1 min left"),
        *("4 of 5, less than a minute left", "5 of 5, less than a minute left"),
    ]


def test_a_sweep_that_stops_at_a_failure_begins_no_trial(storage: Storage, jobs: Untrained) -> None:
    def outcome(values: Mapping[str, str]) -> Mapping[str, float] | str:
        if len(jobs.launched) == 2:
            (jobs.sweep / STOPPED).touch()
            return "it broke"
        return {"val/loss": 1.0}

    jobs.outcome = outcome
    assert len(jobs.run(n_trials=5)) == 2
    assert states(study_in(storage)) == [COMPLETE, FAILED]


def test_a_trial_of_another_command_that_was_faster_does_not_count(storage: Storage, tmp_path: Path) -> None:
    first, second = (Untrained(tmp_path / name) for name in "ab")
    slow, fast = first.search(n_trials=2), second.search(n_trials=2)
    with slow.running(), fast.running():
        assert slow.next()
        count = slow._counted
        began = iter([lambda: (count(), fast.next())[0]])  # as the slow one counts, the fast one begins the last trial
        slow._counted = lambda: next(began, count)()  # type: ignore[method-assign]
        assert slow.next() == []
    assert states(study_in(storage)) == ["RUNNING", "RUNNING"]
    assert study_in(storage).trials[2].user_attrs["not_counted"] == "another command had begun the last trial"


@pytest.mark.parametrize("retries", [0, 1, 2])
def test_trials_of_dead_workers_are_tried_again_as_often_as_wanted(
    retries: int, storage: Storage, tmp_path: Path
) -> None:
    lost = []
    for name in ("a", "b", "c", "d"):
        other = Untrained(tmp_path / name).search(n_trials=3, retries=retries)
        with other.running():
            lost.append([job.overrides[1:] for job in other.next()])
        # Its lock is gone, and with it the worker.
    again = min(retries, 3)
    for each in lost[: again + 1]:
        assert each == lost[0]
    jobs = Untrained(tmp_path / "e")
    jobs.run(n_trials=3, retries=retries)
    trials = study_in(storage)
    assert len(states(trials)) == 3
    assert states(trials).count(FAILED) == {0: 3, 1: 2, 2: 1}[retries]
    assert {trial.user_attrs.get("why") for trial in trials.trials if trial.state.name == FAILED} == {"its worker died"}


def test_a_job_of_a_grid_is_tried_again(storage: Storage, tmp_path: Path) -> None:
    points = [["x=1"], ["x=2"]]
    with (other := Untrained(tmp_path / "a").grid(points)).running():
        for _ in points:
            assert other.next()
    jobs = Untrained(tmp_path / "b")
    untrained.run(jobs.grid(points), jobs)
    assert sorted(jobs.launched) == points
    assert states(study_in_grid(storage)) == [COMPLETE, COMPLETE]


def study_in_grid(storage: Storage) -> optuna.Study:
    return optuna.load_study(study_name="grid", storage=storage)


def test_own_trials_that_were_cut_off_are_taken_up(storage: Storage, jobs: Untrained) -> None:
    with (killed := jobs.search(n_trials=4)).running():
        begun = [job.overrides for _ in range(3) for job in killed.next()]
        (killed_job,) = killed.next()
        killed.ended(killed_job)  # it has failed, because nothing was written
    assert jobs.run(n_trials=4) == [[each for each in overrides if "axes" not in each] for overrides in begun]
    assert states(study_in(storage)) == [COMPLETE] * 3 + [FAILED]


def test_a_study_of_the_earlier_sweeper_goes_on(jobs: Untrained) -> None:
    """Hydra's sweeper for Optuna stored values and nothing else, and a trial that was cut off as running."""
    jobs.sweep.mkdir()
    url = f"sqlite:///{jobs.sweep}/study.db"
    study = open_study(jobs.sweep, "s", url, directions=["minimize"])
    for value in (1.0, 2.0, None):
        trial = study.ask()
        trial.suggest_int("model.latent_dim", 2, 31)
        trial.suggest_float("optimizer.lr", 1e-4, 1e-2, log=True)
        if value is not None:
            study.tell(trial, value)
    assert len(jobs.run(n_trials=5, storage=url)) == 3
    assert states(open_study(jobs.sweep, "s", url)) == [COMPLETE] * 5


# A trial's jobs.

ONE = ["model.latent_dim=choice(5)"]


def test_trials_of_the_same_values_are_one_job(storage: Storage, jobs: Untrained) -> None:
    assert len(jobs.run(ONE, n_trials=3)) == 1
    assert [trial.value for trial in study_in(storage).trials] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("seeds", [None, [1, 2]])
def test_a_twin_waits_for_the_trial_that_runs(seeds: list[int] | None, storage: Storage, jobs: Untrained) -> None:
    with (running := jobs.search(ONE, n_trials=3, seeds=seeds)).running():
        begun = running.next()
        assert running.next() == []
        assert states(study_in(storage)) == ["RUNNING"] * 3
        for job in begun:
            jobs.launch([job.overrides], job.number)
            assert running.ended(job) == []
    assert states(study_in(storage)) == [COMPLETE] * 3
    assert len({trial.value for trial in study_in(storage).trials}) == 1


def test_a_trial_with_seeds_has_their_mean(storage: Storage, jobs: Untrained) -> None:
    launched = jobs.run(ONE, n_trials=1, seeds=[1, 2, 6])
    assert launched == [["model.latent_dim=5", f"seed={seed}"] for seed in (1, 2, 6)]
    (trial,) = study_in(storage).trials
    each = [untrained.distance({"seed": str(seed)}) for seed in (1, 2, 6)]
    assert trial.value == pytest.approx(statistics.fmean(each))
    assert trial.user_attrs["std"] == [pytest.approx(statistics.stdev(each))]
    assert trial.user_attrs["values"] == {str(seed): [value] for seed, value in zip((1, 2, 6), each, strict=True)}
    assert trial.user_attrs["epochs"] == {"trained": 3 * EPOCHS, "planned": 3 * EPOCHS}
    assert trial.user_attrs["seconds"] == 30.0
    assert trial.intermediate_values == {epoch: pytest.approx(each[0] / epoch) for epoch in range(1, EPOCHS + 1)}


def test_all_seeds_begin_together_without_a_pruner_and_the_first_alone_with_one(
    storage: Storage, jobs: Untrained
) -> None:
    with jobs.search(n_trials=2, seeds=[1, 2]).running():
        pass
    for pruner, count in (("none", 2), ("median", 1)):
        with (running := jobs.search(n_trials=2, seeds=[1, 2], pruner=pruner)).running():
            assert len(running.next()) == running.jobs_at_once == count


@pytest.mark.parametrize(("curve", "expected"), [((9, 0, 0, 0), 1), ((0, 0, 0, 9), 4), ((0, 0, 0, 0), 0)])
def test_further_seeds_begin_only_if_the_first_is_not_pruned(
    curve: Sequence[float], expected: int, storage: Storage, jobs: Untrained
) -> None:
    jobs.curve = lambda values, epoch: curve[epoch - 1]
    jobs.outcome = lambda values: {"val/loss": curve[-1]}
    given = {"n_trials": 1, "seeds": [1, 2], "pruner": "threshold", "pruner_": {"upper": 1.0}}
    launched = jobs.run(ONE, **given)
    assert len(launched) == (1 if expected else 2)
    assert states(study_in(storage)) == [PRUNED if expected else COMPLETE]
    trained = {"trained": expected or 2 * EPOCHS, "planned": 2 * EPOCHS}
    assert study_in(storage).trials[0].user_attrs["epochs"] == trained
    assert jobs.run(ONE, **given) == []


def test_a_failed_seed_fails_its_trial_and_the_others_go_on(storage: Storage, jobs: Untrained) -> None:
    jobs.outcome = lambda values: "it broke" if values["seed"] == "2" else {"val/loss": 1.0}
    assert len(jobs.run(n_trials=2, seeds=[1, 2, 3])) >= 4
    assert states(study_in(storage)) == [FAILED, FAILED]


def test_a_job_is_not_run_twice(storage: Storage, jobs: Untrained) -> None:
    begun = jobs.run(n_trials=3, seeds=[1, 2])
    for folder in jobs.sweep.glob("*seed=2"):
        assert (folder / "metrics.json").exists()
    storage.__init__()  # type: ignore[misc]  # the study is lost
    assert jobs.run(n_trials=3, seeds=[1, 2]) == []
    assert states(study_in(storage)) == [COMPLETE] * 3
    assert len(begun) == 6


def test_several_jobs_at_a_time_are_each_run_once(storage: Storage, jobs: Untrained) -> None:
    untrained.run(jobs.search(n_trials=12, seeds=[1, 2]), jobs, at_a_time=4)
    assert states(study_in(storage)) == [COMPLETE] * 12
    assert len(jobs.launched) == len({*map(tuple, jobs.launched)}) == 24


def test_an_error_of_one_job_ends_the_others_and_the_command(storage: Storage, jobs: Untrained) -> None:
    def outcome(values: Mapping[str, str]) -> Mapping[str, float]:
        raise InputError("the folder holds another run")

    jobs.outcome = outcome
    for at_a_time in (1, 3):
        with pytest.raises(InputError, match="another run"):
            untrained.run(jobs.search(n_trials=12), jobs, at_a_time)


# Pruning.


def test_pruned_trials_are_told_and_not_run_again(storage: Storage, jobs: Untrained) -> None:
    given = {"pruner": "median", "pruner_": {"n_startup_trials": 2}}
    launched = jobs.run(n_trials=10, **given)
    found = states(study_in(storage))
    assert len(launched) == 10
    assert {*found} == {COMPLETE, PRUNED}
    assert found[:2] == [COMPLETE, COMPLETE]
    for trial in study_in(storage).trials:
        epochs = EPOCHS if trial.state.name == COMPLETE else max(trial.intermediate_values)
        assert trial.user_attrs["epochs"] == {"trained": epochs, "planned": EPOCHS}
    assert jobs.run(n_trials=10, **given) == []
    assert list(jobs.sweep.glob("*/trial.json")) == []


def test_a_trial_that_was_pruned_before_a_kill_stays_pruned(storage: Storage, jobs: Untrained) -> None:
    """The study has the verdict, but the run could not say so itself."""
    given: dict[str, Any] = {"n_trials": 1, "pruner": "threshold", "pruner_": {"upper": 1.0}}
    with (killed := jobs.search(ONE, **given)).running():
        (job,) = killed.next()
        assert killed.judge(2, {0: 5.0}) == {0}
    assert jobs.run(ONE, **given) == []
    assert read_json(job.folder / "pruned.json") == {"epoch": 2, "epochs": 4}
    assert states(study_in(storage)) == [PRUNED]


def test_a_grid_with_a_pruner_runs_each_job_once(storage: Storage, jobs: Untrained) -> None:
    points = [[f"model.latent_dim={dim}"] for dim in (8, 7, 9, 6, 30, 5)]
    grid = {"pruner": "median", "pruner_": {"n_startup_trials": 2}}
    untrained.run(jobs.grid(points, **grid), jobs)
    assert jobs.launched == points
    found = dict(zip(map(tuple, chosen(study_in_grid(storage))), states(study_in_grid(storage)), strict=True))
    assert [found[tuple(point)] for point in points] == [*(COMPLETE, COMPLETE, PRUNED, COMPLETE, PRUNED, COMPLETE)]
    untrained.run(jobs.grid(points, **grid), jobs)
    assert len(jobs.launched) == len(points)
    untrained.run(jobs.grid([*points, ["model.latent_dim=10"]], **grid), jobs)
    assert jobs.launched[len(points) :] == [["model.latent_dim=10"]]


@pytest.mark.parametrize("dies_at", range(10, 60, 7))
def test_a_killed_grid_with_a_pruner_ends_with_the_same_jobs(dies_at: int, storage: Storage, tmp_path: Path) -> None:
    points = [[f"model.latent_dim={dim}"] for dim in (5, 6, 9, 4, 30)]
    grid = {"pruner": "median", "pruner_": {"n_startup_trials": 2}}
    found = []
    for name, deaths in (("whole", []), ("killed", [dies_at, 9])):
        storage.__init__()  # type: ignore[misc]
        jobs = Untrained(tmp_path / name)
        until_complete(lambda jobs=jobs: untrained.run(jobs.grid(points, **grid), jobs), storage, deaths)  # type: ignore[misc]
        study = study_in_grid(storage)
        found.append((chosen(study), states(study), [trial.intermediate_values for trial in study.trials]))
    assert found[0] == found[1]


# Objectives.


def test_several_objectives_have_directions_of_their_own(storage: Storage, jobs: Untrained) -> None:
    jobs.outcome = lambda values: {"val/loss": 1.0 + float(values["seed"]), "probe/val_acc": 0.5, "val/kl": 9.0}
    objectives = {"val/loss": "minimize", "probe/val_acc": "maximize"}
    jobs.run(ONE, n_trials=1, objectives=objectives, seeds=[1, 3])
    study = study_in(storage)
    assert [direction.name for direction in study.directions] == ["MINIMIZE", "MAXIMIZE"]
    assert study.user_attrs["objectives"] == [*objectives]
    assert study.trials[0].values == [3.0, 0.5]
    assert study.trials[0].user_attrs["std"] == [pytest.approx(statistics.stdev([2, 4])), 0.0]
    assert study.trials[0].intermediate_values == {}


def test_a_job_without_the_objective_has_failed(storage: Storage, jobs: Untrained) -> None:
    jobs.outcome = lambda values: {"val/kl": 1.0}
    jobs.run(ONE, n_trials=1)
    assert study_in(storage).trials[0].user_attrs["why"] == "it has no val/loss"


@pytest.mark.parametrize(
    ("given", "direction"),
    [
        ({}, "MINIMIZE"),
        ({"direction": "maximize"}, "MAXIMIZE"),
        ({"objectives": {"probe/val_acc": "maximize"}}, "MAXIMIZE"),
        ({"objectives": {"train/loss": "minimize"}, "direction": "maximize"}, "MINIMIZE"),
    ],
)
def test_the_direction_is_the_objectives(
    given: dict[str, Any], direction: str, storage: Storage, jobs: Untrained
) -> None:
    jobs.run(ONE, n_trials=1, **given)
    assert [each.name for each in study_in(storage).directions] == [direction]


@pytest.mark.parametrize(
    ("given", "refused"),
    [
        ({"objectives": {"test/loss": "minimize"}}, "hydra.sweeper.objectives.test/loss: must be"),
        (
            {"objectives": {"val/loss": "least"}},
            "hydra.sweeper.objectives.val/loss=least: must be minimize or maximize",
        ),
        ({"direction": "down"}, "hydra.sweeper.objectives.val/loss=down: must be minimize or maximize"),
        (
            {"objectives": {"val/loss": "minimize", "val/kl": "minimize"}, "pruner": "median"},
            "hydra.sweeper.pruner._target_=optuna.pruners.MedianPruner: must be optuna.pruners.NopPruner",
        ),
        ({"sampler_": {"_target_": "optuna.samplers.TPESampel"}}, "hydra.sweeper.sampler._target_=optuna.samplers.TPE"),
        ({"sampler_": {"n_trials": 3}}, "hydra.sweeper.sampler"),
        ({"pruner": "median", "pruner_": {"n_startup_trials": -1}}, "hydra.sweeper.pruner"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(
    given: dict[str, Any], refused: str, storage: Storage, jobs: Untrained
) -> None:
    with pytest.raises(InputError) as caught:
        jobs.run(n_trials=2, **given)
    assert str(caught.value).startswith(refused)
    assert "\n" not in str(caught.value)
    assert list(jobs.sweep.iterdir()) == []
    assert storage.writes == 0


def test_a_study_with_other_directions_is_refused(jobs: Untrained) -> None:
    jobs.run(ONE, n_trials=1)
    with pytest.raises(InputError, match=r"study_name=s: has the directions minimize, not maximize; choose another"):
        jobs.run(ONE, n_trials=1, direction="maximize")


# Values that no trial can have.


def refuse(error: type[InputError], key: str, *texts: str) -> Callable[..., Any]:
    """Compose jobs, but for those that have one of these values."""

    def checked_job(loader: Any, sweep: Any, overrides: Sequence[str], number: int) -> Any:
        if untrained.values_of(overrides).get(key) in texts:
            raise error(f"{key}={texts[0]}: must be another")
        return untrained.checked_job(loader, sweep, overrides, number)

    return checked_job


def test_choices_that_do_not_go_together_are_left_out(
    storage: Storage, jobs: Untrained, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(search, "checked_job", refuse(IncompatibleError, "model.latent_dim", "3"))
    launched = jobs.run(FINITE, n_trials=6, sampler="grid")
    assert len(launched) == 4
    trials = study_in(storage).trials
    left_out = [trial for trial in trials if trial.state.name == FAILED]
    assert [trial.user_attrs["why"] for trial in left_out] == ["model.latent_dim=3: must be another"] * 2
    assert all(trial.params["model.latent_dim"] == 3 for trial in left_out)
    assert caplog.text.count("is left out: model.latent_dim=3: must be another") == 2


def test_a_space_of_which_all_is_left_out_is_refused(
    storage: Storage, jobs: Untrained, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "checked_job", refuse(IncompatibleError, "model.latent_dim", "5"))
    with pytest.raises(InputError, match=r"all trials are left out: model\.latent_dim=5"):
        jobs.run(ONE, n_trials=3)
    assert storage.writes == 0


@pytest.mark.parametrize("text", ["2", "31"])
def test_a_bad_end_of_a_range_is_refused_before_anything_is_written(
    text: str, storage: Storage, jobs: Untrained, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "checked_job", refuse(InputError, "model.latent_dim", text))
    with pytest.raises(InputError, match="must be another"):
        jobs.run(n_trials=3)
    assert storage.writes == 0
    assert list(jobs.sweep.iterdir()) == []


def test_a_bad_value_within_a_range_ends_the_search_with_its_trial(
    storage: Storage, jobs: Untrained, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "checked_job", refuse(InputError, "model.latent_dim", "3"))
    with pytest.raises(InputError, match="must be another"):
        jobs.run(FINITE, n_trials=6, sampler="grid")
    assert states(study_in(storage))[-1] == FAILED
    assert set(states(study_in(storage))) <= {COMPLETE, FAILED}


def test_other_choices_of_a_key_are_refused_with_the_way_out(jobs: Untrained) -> None:
    """Optuna compares the choices of all trials of a study."""
    jobs.run(["optimizer.lr=1e-3,1e-2"], n_trials=2)
    with pytest.raises(InputError, match=r"optimizer.lr.*choose another"):
        jobs.run(["optimizer.lr=1e-3,1e-2,1e-1"], n_trials=4)
    assert states(open_study(jobs.sweep, "s", None)) == [COMPLETE, COMPLETE]


def test_a_command_with_a_bad_end_is_refused_in_one_line(command: Command, tmp_path: Path) -> None:
    done = command("train", "-m", *SMALL, "experiment=search", "model.latent_dim=range(0,5)")
    assert done.returncode == 2
    assert done.stderr.startswith("error: model.latent_dim=0: must be")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "refused"),
    [
        ("data.val_size=0", "sweep.objective=val/loss: must be a metric of training, because data.val_size=0"),
        ("trainer.limit_val_batches=0", "must be a metric of training, because trainer.limit_val_batches=0"),
        ("sweep.objective=val/los", "there is no such name; did you mean val/loss?"),
        ("hydra.sweeper.objectives={val/los:minimize}", "there is no such name; did you mean val/loss?"),
        ("callbacks.probe=null sweep.objective=probe/val_acc", "there is no such name"),
        ("data.val_size=0 sweep.objective=train/loss", None),
        ("trainer.limit_val_batches=0 sweep.objective=probe/val_acc", None),
        ("data.val_size=0 hydra.sweeper.objectives={train/loss:minimize}", None),
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


# Searches as users write them.


def run_composed(config: Any, jobs: Untrained) -> None:
    """Run a composed search as Hydra does."""
    SweepCallback().on_multirun_start(config)
    loader = GlobalHydra.instance().config_loader()
    with warnings.catch_warnings():
        warnings.simplefilter("error", optuna.exceptions.ExperimentalWarning)
        run_search(config, jobs, loader, [*config.hydra.overrides.task])  # type: ignore[arg-type]


OLD_NAMES = [
    *("experiment=search", "data=mnist_5k", "hydra/sweeper=optuna", "hydra/sweeper/sampler=tpe", "sweep.name=s"),
    *("hydra.sweeper.n_trials=3", "hydra.sweeper.direction=minimize", "hydra.sweeper.n_jobs=1"),
    *("hydra.sweeper.max_failure_rate=0.5", "hydra.sweeper.study_name=mine", "hydra.sweeper.sampler.seed=3"),
]


def test_the_earlier_names_of_the_sweeper_and_its_keys_go_on(multirun: Compose, jobs: Untrained) -> None:
    storage = "sqlite:///${hydra.sweep.dir}/study.db"
    run_composed(multirun(*OLD_NAMES, f"hydra.sweeper.storage='{storage}'"), jobs)
    assert len(jobs.launched) == 3
    study = open_study(jobs.sweep, "mine", f"sqlite:///{jobs.sweep}/study.db")
    assert states(study) == [COMPLETE] * 3
    assert {*study.trials[0].params} == {"model.latent_dim", "optimizer.lr"}


@pytest.mark.parametrize(
    ("given", "refused"),
    [
        (["seed=1", "hydra.sweeper.seeds=[1,2]"], r"hydra.sweeper.seeds=\[1, 2\]: must be null if seed is given too"),
        (["hydra.sweeper.params=null"], "hydra.sweeper.params: must name at least one key to search"),
    ],
)
def test_a_search_without_sense_leaves_no_folder(
    given: list[str], refused: str, multirun: Compose, jobs: Untrained
) -> None:
    with pytest.raises(InputError, match=refused):
        run_composed(multirun("experiment=search", "data=mnist_5k", *given), jobs)
    assert not jobs.sweep.exists()


def test_the_command_line_replaces_an_axis_of_the_experiment(multirun: Compose, jobs: Untrained) -> None:
    config = multirun("experiment=search", "data=mnist_5k", "model.latent_dim=7", "hydra.sweeper.n_trials=2")
    with open_dict(config):
        config.hydra.overrides.task.append("optimizer.lr=1e-3,1e-2")
    run_composed(config, jobs)
    assert len(jobs.launched) == 2
    for values in map(untrained.values_of, jobs.launched):
        assert values["model.latent_dim"] == "7"
        assert values["optimizer.lr"] in ("0.001", "0.01")
