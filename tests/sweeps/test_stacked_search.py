"""A search in stacks: models leave and join them, and each is trained as if it were alone."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
import untrained
from conftest import TINY, Compose, losses, metrics_of
from hydra import compose
from hydra.core.global_hydra import GlobalHydra
from untrained import COMPLETE, EPOCHS, FAILED, PRUNED, Storage, Untrained, by_number, chosen, states, until_complete

from vae_lightning.runs.directory import METRICS, read_json
from vae_lightning.runs.directory import PRUNED as PRUNED_FILE
from vae_lightning.runs.training import train
from vae_lightning.sweeps import search, stacked_search, stacking
from vae_lightning.sweeps.epoch_end import EpochEnd
from vae_lightning.sweeps.search import Search, SearchJob
from vae_lightning.sweeps.stacked_runs import Paused
from vae_lightning.sweeps.stacked_search import run_in_stacks
from vae_lightning.sweeps.stacking import StackedJob
from vae_lightning.whole_files import write_json

# Stacks that are not trained.


class Stacks:
    """Stacks whose epochs end at once.

    Attributes:
        trained: the first and the last epoch of each stack, and its jobs.
        alone: the jobs that ran alone.
    """

    def __init__(self, jobs: Untrained) -> None:
        self.jobs, self.trained, self.alone = jobs, list[tuple[int, int, list[str]]](), list[str]()

    def run(self, own: Search, at_a_time: int) -> None:
        with own.running():
            run_in_stacks(own, self.run_alone, self.record, at_a_time)

    def run_alone(self, job: SearchJob) -> None:
        self.alone.append(job.folder.name)
        self.jobs.end(job.folder, untrained.values_of(job.overrides))

    def record(self, job: SearchJob, error: Exception | None) -> None:
        if error is not None:
            write_json(job.folder / "failure.json", {"error": str(error)})

    def train(self, stack: Sequence[StackedJob], sweep: Path, epoch_end: EpochEnd) -> list[Exception | None] | None:
        (first,) = {job.epoch for job in stack}
        names, left = [job.directory.name for job in stack], [*range(len(stack))]
        values = [untrained.values_of(name.split(",")) for name in names]
        errors: list[Exception | None] = [None] * len(stack)
        self.trained.append((first, first, names))
        for epoch in range(first + 1, EPOCHS + 1):
            metrics = [{"val/loss": self.jobs.curve(values[k], epoch)} if k in left else {} for k in range(len(stack))]
            pruned = epoch_end.pruned(epoch, metrics)
            for k in left:
                write_json(stack[k].directory / "epoch.json", {"epoch": epoch})
            self.trained[-1] = (first, epoch, names)
            if epoch == EPOCHS:
                for k in left:
                    self.jobs.end(stack[k].directory, values[k])
                break
            for k in pruned:
                write_json(stack[k].directory / PRUNED_FILE, {"epoch": epoch, "epochs": EPOCHS})
            left = [k for k in left if k not in pruned]
            if not left:
                break
            if not epoch_end.goes_on(epoch, len(left)):
                for k in left:
                    errors[k] = Paused()
                break
        return errors

    @property
    def epochs(self) -> dict[str, list[int]]:
        """The epochs that each job was trained, in order."""
        found: dict[str, list[int]] = {}
        for first, last, names in self.trained:
            for name in names:
                found.setdefault(name, []).extend(range(first + 1, last + 1))
        return found


def stored_epochs(config: Any, starts_over: bool = True) -> dict[int, Path | None]:
    file = Path(config["run_dir"]) / "epoch.json"
    return {read_json(file)["epoch"]: file} if file.exists() else {0: None}


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> Storage:
    return untrained.stored_in_memory(monkeypatch)


@pytest.fixture
def stacks(tmp_path: Path, storage: Storage, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Stacks]:
    """``stacks(name)``, the stacks of a sweep's folder; a job with ``alone=1`` cannot be stacked, ``kind`` divides."""
    current: list[Stacks] = []

    def stackable(composed: Sequence[Any]) -> list[StackedJob]:
        return [StackedJob(0, dict(cfg), {"axes": {}}) for cfg in composed if cfg.get("alone") != "1"]

    monkeypatch.setattr(search, "checked_job", untrained.checked_job)
    monkeypatch.setattr(stacked_search, "stackable", stackable)
    monkeypatch.setattr(stacked_search, "in_one_stack", lambda job: str(job.config.get("kind")))
    monkeypatch.setattr(stacked_search, "checkpoint_path", lambda folder, _: folder / "epoch.json")
    monkeypatch.setattr(stacked_search, "train_stack", lambda *arguments: current[-1].train(*arguments))
    monkeypatch.setattr(stacking, "resumable_epochs", stored_epochs)

    def begin(name: str) -> Stacks:
        current.append(Stacks(Untrained(tmp_path / name)))
        return current[-1]

    return begin


def points(count: int, **given: str) -> list[list[str]]:
    return [[f"x={number}", *(f"{key}={value}" for key, value in given.items())] for number in range(count)]


def names(*numbers: int) -> list[str]:
    return [f"x={number}" for number in numbers]


def study_of(storage: Storage, name: str = "grid") -> optuna.Study:
    return optuna.load_study(study_name=name, storage=storage)


def test_without_pruning_each_batch_is_a_stack(stacks: Callable[[str], Stacks], storage: Storage) -> None:
    own = stacks("s")
    own.run(own.jobs.grid(points(10)), 4)
    assert own.trained == [(0, 4, names(0, 1, 2, 3)), (0, 4, names(4, 5, 6, 7)), (0, 4, names(8, 9))]
    assert states(study_of(storage)) == [COMPLETE] * 10


def test_a_stack_is_filled_up_once_a_quarter_is_left(stacks: Callable[[str], Stacks], storage: Storage) -> None:
    own = stacks("s")
    pruner = by_number(t1=1, t2=2, t3=2, t4=2, t5=2, t6=2)
    own.run(own.jobs.grid(points(16), **pruner), 8)
    assert own.trained == [
        (0, 2, names(*range(8))),  # seven are left after the first epoch, two after the second
        (0, 2, names(*range(8, 14))),  # as many as there is room for
        (2, 4, names(0, 7, *range(8, 14))),
        (0, 4, names(14, 15)),
    ]
    assert states(study_of(storage)) == [PRUNED if 1 <= number <= 6 else COMPLETE for number in range(16)]


@pytest.mark.parametrize(("left", "epoch", "pauses"), [(2, 1, True), (3, 1, False), (2, 2, True), (2, 3, False)])
def test_more_than_a_quarter_or_fewer_than_two_epochs_to_go_are_trained_to_their_end(
    left: int, epoch: int, pauses: bool, stacks: Callable[[str], Stacks]
) -> None:
    own = stacks("s")
    own.run(own.jobs.grid(points(9), **by_number(**{f"t{number}": epoch for number in range(left, 8)})), 8)
    assert own.trained[0] == (0, epoch if pauses else 4, names(*range(8)))
    assert len(own.trained) == (3 if pauses else 2)


def test_nothing_is_filled_up_when_no_trial_is_left(stacks: Callable[[str], Stacks]) -> None:
    own = stacks("s")
    own.run(own.jobs.grid(points(4), **by_number(t0=1, t1=1, t2=1)), 4)
    assert own.trained == [(0, 4, names(0, 1, 2, 3))]


def test_those_that_train_from_the_beginning_may_be_pruned_and_filled_up_too(stacks: Callable[[str], Stacks]) -> None:
    own = stacks("s")
    own.run(own.jobs.grid(points(12), **by_number(t0=1, t1=1, t2=1, t4=1, t5=1, t6=1)), 4)
    assert own.trained == [
        (0, 1, names(0, 1, 2, 3)),
        (0, 1, names(4, 5, 6)),  # all pruned
        (0, 1, names(7, 8, 9)),
        (1, 4, names(3, 7, 8, 9)),
        (0, 4, names(10, 11)),
    ]


def test_runs_of_another_kind_have_stacks_of_their_own_or_run_alone(
    stacks: Callable[[str], Stacks], storage: Storage
) -> None:
    own = stacks("s")
    jobs = [*points(3, kind="a"), *points(2, kind="b"), *points(2, alone="1")]
    own.run(own.jobs.grid(jobs), 7)
    assert [[name[4:] for name in stack] for _, _, stack in own.trained] == [["kind=a"] * 3, ["kind=b"] * 2]
    assert own.alone == ["x=0,alone=1", "x=1,alone=1"]
    assert states(study_of(storage)) == [COMPLETE] * 7


def test_a_stack_that_cannot_be_trained_is_run_job_by_job(
    stacks: Callable[[str], Stacks], monkeypatch: pytest.MonkeyPatch, storage: Storage
) -> None:
    own = stacks("s")
    monkeypatch.setattr(own, "train", lambda *_: None)
    own.run(own.jobs.grid(points(5)), 4)
    assert own.alone == names(0, 1, 2, 3, 4)
    assert states(study_of(storage)) == [COMPLETE] * 5


def test_a_failure_in_a_stack_is_that_of_its_trial(
    stacks: Callable[[str], Stacks], monkeypatch: pytest.MonkeyPatch, storage: Storage
) -> None:
    own, whole = stacks("s"), Stacks.train

    def train(*arguments: Any) -> list[Exception | None] | None:
        errors = whole(own, *arguments)
        assert errors is not None
        (arguments[0][1].directory / METRICS).unlink()
        return [errors[0], FloatingPointError("the loss is nan"), *errors[2:]]

    monkeypatch.setattr(own, "train", train)
    own.run(own.jobs.grid(points(3)), 4)
    assert states(study_of(storage)) == [COMPLETE, FAILED, COMPLETE]
    assert study_of(storage).trials[1].user_attrs["why"] == "the loss is nan"


@pytest.mark.parametrize("pruner", ["none", "median"])
def test_the_seeds_of_a_trial_share_its_stack(pruner: str, stacks: Callable[[str], Stacks], storage: Storage) -> None:
    own = stacks("s")
    space = ["model.latent_dim=5,6"]
    given: dict[str, Any] = {"n_trials": 2, "seeds": [1, 2, 3], "sampler": "grid", "pruner": pruner}
    own.run(own.jobs.search(space, **given), 2)
    sizes = [len(stack) for _, _, stack in own.trained]
    assert sizes == ([6] if pruner == "none" else [2, 4])
    study = study_of(storage, "s")
    assert states(study) == [COMPLETE] * 2
    for trial in study.trials:  # the values are those of the first seed
        first = untrained.distance(untrained.values_of([*trial.user_attrs["overrides"], "seed=1"]))
        assert trial.intermediate_values == {epoch: pytest.approx(first / epoch) for epoch in range(1, EPOCHS + 1)}


def outcome(own: Stacks, storage: Storage, name: str) -> Any:
    study = study_of(storage, name)
    return chosen(study), states(study), [trial.intermediate_values for trial in study.trials]


GIVEN: dict[str, Any] = {"n_trials": 14, "sampler": "tpe", "sampler_": {"n_startup_trials": 4}}


@pytest.mark.parametrize("pruner", ["median", "successive_halving"])
def test_a_search_in_stacks_ends_in_the_same_way_however_often_it_is_killed(
    pruner: str, stacks: Callable[[str], Stacks], storage: Storage
) -> None:
    early = {"n_startup_trials": 2} if pruner == "median" else {}
    given = {**GIVEN, "pruner": pruner, "pruner_": early}
    whole = stacks("whole")
    whole.run(whole.jobs.search(**given), 6)
    expected, writes = outcome(whole, storage, "s"), storage.writes
    assert {*expected[1]} == {COMPLETE, PRUNED}
    assert any(first > 0 for first, *_ in whole.trained)
    for name, epochs in whole.epochs.items():
        assert epochs == [*range(1, len(epochs) + 1)], name
    for number in range(20, writes, 17):
        storage.__init__()  # type: ignore[misc]
        own = stacks(str(number))
        deaths = [number, 31, 23]
        assert until_complete(lambda own=own: own.run(own.jobs.search(**given), 6), storage, deaths) >= 1  # type: ignore[misc]
        found = outcome(own, storage, "s")
        assert found == expected, number


# Real runs.

SEARCH = [*TINY, "trainer.max_epochs=5", "callbacks.curves=null", "logger=none"]
# Of eight trials, four at a time: one is left of the first four, the first of the next stack is pruned later.
LEAVING = by_number(t0=1, t2=1, t3=1, t4=3)


@pytest.mark.parametrize(("precision", "tolerance"), [("64-true", 1e-10), ("32-true", 1e-5)])
def test_numbers_are_those_of_runs_alone_through_pauses_and_merges(
    precision: str,
    tolerance: float,
    multirun: Compose,
    storage: Storage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stacked, real = list[tuple[int, int]](), stacking.train_stack

    def train_stack(stack: Sequence[StackedJob], *arguments: Any) -> Any:
        stacked.append((stack[0].epoch, len(stack)))
        return real(stack, *arguments)

    def record(job: SearchJob, error: Exception | None) -> None:
        assert error is None

    monkeypatch.setattr(stacked_search, "train_stack", train_stack)
    options = [*SEARCH, f"trainer.precision={precision}", "sweep.name=s"]
    jobs = [[f"model.latent_dim={dim}", f"optimizer.lr={lr}"] for dim in (2, 5) for lr in ("1e-3", "3e-3")]
    jobs = [[*job, f"seed={seed}"] for seed in (1, 2) for job in jobs] + [
        ["model.widths=[4]", "model.latent_dim=2", "optimizer.lr=1e-3", "seed=1"]
    ]
    axes = "sweep.axes=[model.latent_dim,optimizer.lr,seed,model.widths]"
    config, loader = multirun(*options, axes), GlobalHydra.instance().config_loader()
    own = Search({"pruner": untrained.settings(**LEAVING)["pruner"]}, loader, config, [*options, axes], jobs)
    with own.running():
        run_in_stacks(own, lambda job: pytest.fail("none runs alone"), record, 4)
    assert stacked == [(0, 4), (0, 3), (1, 4), (0, 1), (0, 1)]
    study = study_of(storage)
    ended = states(study)
    assert ended == [PRUNED if number in (0, 2, 3, 4) else COMPLETE for number in range(9)]
    for trial in study.trials:
        job = tmp_path / "s" / trial.user_attrs["jobs"][0]
        epochs = max(trial.intermediate_values)
        given = [*options, *trial.user_attrs["overrides"], f"trainer.max_epochs={epochs}"]
        alone = train(compose("train", [*given, f"run_dir='{tmp_path / job.name}'"]))
        assert trial.intermediate_values[epochs] == pytest.approx(alone["val/loss"], rel=tolerance)
        if trial.state.name == COMPLETE:
            assert losses(metrics_of(job)) == pytest.approx(losses(alone), rel=tolerance)
        last = [
            torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
            for folder in (job, tmp_path / job.name)
        ]
        for name, weight in last[1].items():
            torch.testing.assert_close(last[0][name], weight, rtol=0, atol=tolerance * 20)
