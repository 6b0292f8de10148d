"""Pruning: the verdicts are Optuna's own, also when a command was killed between two writes."""

import math
import random
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from untrained import KilledError, Storage, settings

from vae_lightning import InputError
from vae_lightning.sweeps.pruning import TrialReport, build_pruner, judge, stored_verdict
from vae_lightning.sweeps.study import open_study

PRUNERS = ("median", "percentile", "successive_halving", "hyperband", "threshold", "patient", "wilcoxon")
TRIALS, STEPS = 12, 9

# Each trial's value after each epoch.
Curves = Mapping[int, list[float]]


def pruner_of(name: str, **given: Any) -> optuna.pruners.BasePruner:
    """The preset's pruner, begun early enough for few short trials."""
    early = {"median": {"n_startup_trials": 2}, "percentile": {"n_startup_trials": 2}, "threshold": {"upper": 1.5}}
    early |= {"patient": {"wrapped_pruner": {"_target_": "optuna.pruners.MedianPruner", "n_startup_trials": 2}}}
    early |= {"hyperband": {"max_resource": STEPS}}
    pruner = build_pruner(settings(pruner=name)["pruner"] | early.get(name, {}) | given)
    assert pruner is not None
    return pruner


def curves_of(seed: int) -> Curves:
    source = random.Random(seed)
    levels = [source.uniform(0, 1) for _ in range(TRIALS)]
    return {
        number: [level + source.uniform(0, 1) / step for step in range(1, STEPS + 1)]
        for number, level in enumerate(levels)
    }


def study_of(storage: Any, pruner: Any, direction: Any = "minimize") -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.create_study(study_name="s", storage=storage, pruner=pruner, direction=direction, load_if_exists=True)


def end(study: optuna.Study, number: int, pruned: bool, value: float) -> None:
    study.tell(number, None if pruned else value, TrialState.PRUNED if pruned else TrialState.COMPLETE)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("direction", ["minimize", "maximize"])
@pytest.mark.parametrize("name", PRUNERS)
def test_verdicts_are_those_of_optunas_own_trials(name: str, direction: str, seed: int) -> None:
    pruner, curves, seen = pruner_of(name), curves_of(seed), set()
    own, expected = (study_of(Storage(), pruner, direction) for _ in range(2))
    for number, curve in curves.items():
        trials = [study.ask() for study in (own, expected)]
        for step, value in enumerate(curve, 1):
            trials[1].report(value, step)
            pruned = trials[1].should_prune()
            assert judge(own, pruner, step, {number: value}) == ({number} if pruned else set())
            if pruned:
                break
        seen.add(pruned)
        for study in (own, expected):
            end(study, number, pruned, curve[-1])
    assert seen == {True, False} or name in ("threshold", "wilcoxon", "patient")
    assert [trial.intermediate_values for trial in own.trials] == [
        trial.intermediate_values for trial in expected.trials
    ]


def judged_in_batches(storage: Storage, pruner: Any, curves: Curves, dies_at: int | None = None) -> dict[int, int]:
    """Judge trials as two stacks have them; return the step at which each was pruned, 0 if it was not.

    A command that dies begins anew with what the study holds.
    """
    storage.revive(dies_at)
    while True:
        with suppress(KilledError):
            study = study_of(storage, pruner)
            while len(study.get_trials()) < TRIALS:
                study.ask()
            ended = {
                trial.number: stored_verdict(trial)["step"] if trial.state == TrialState.PRUNED else 0
                for trial in study.get_trials()
                if trial.state.is_finished()
            }
            for batch in (range(TRIALS // 2), range(TRIALS // 2, TRIALS)):
                for step in range(1, STEPS + 1):
                    left = [number for number in batch if number not in ended]
                    pruned = judge(study, pruner, step, {number: curves[number][step - 1] for number in left})
                    assert pruned <= {*left}
                    ended |= dict.fromkeys(pruned, step)
                for number in batch:
                    ended.setdefault(number, 0)
                    if not study.get_trials()[number].state.is_finished():
                        end(study, number, ended[number] > 0, curves[number][-1])
            return ended
        storage.revive()


@pytest.mark.parametrize("name", PRUNERS)
def test_a_command_killed_between_two_writes_ends_with_the_same_verdicts(name: str) -> None:
    pruner, curves, whole = pruner_of(name), curves_of(3), Storage()
    expected = judged_in_batches(whole, pruner, curves)
    assert {*map(bool, expected.values())} == {True, False} or name in ("threshold", "wilcoxon")
    assert whole.writes > 2 * TRIALS
    for number in range(TRIALS, whole.writes, 7):
        assert judged_in_batches(Storage(), pruner, curves, number) == expected, number


def test_without_a_pruner_the_values_are_stored_all_the_same() -> None:
    study = study_of(Storage(), None)
    study.ask()
    assert judge(study, None, 1, {0: 2.0}) == set()
    assert study.trials[0].intermediate_values == {1: 2.0}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_not_finite_is_left_out(value: float) -> None:
    pruner = pruner_of("threshold")
    study = study_of(Storage(), pruner)
    for _ in range(2):
        study.ask()
    assert judge(study, pruner, 1, {0: value, 1: 9.0}) == {1}
    assert [trial.intermediate_values for trial in study.trials] == [{}, {1: 9.0}]


@pytest.mark.filterwarnings("error::UserWarning")  # with which Optuna ignores a second value
def test_the_first_value_of_a_step_stays() -> None:
    """A killed run repeats its last epochs, perhaps on another machine with other roundings."""
    pruner = pruner_of("threshold")
    study = study_of(Storage(), pruner)
    study.ask()
    assert judge(study, pruner, 1, {0: 1.0}) == set()
    assert judge(study, pruner, 2, {0: 9.0}) == {0}
    assert judge(study, pruner, 1, {0: 9.0}) == set()
    assert judge(study, pruner, 2, {0: 1.0}) == {0}
    assert study.trials[0].intermediate_values == {1: 1.0, 2: 9.0}
    assert stored_verdict(study.trials[0]) == {"step": 2, "pruned": True, "noted": {}}


def test_trials_of_a_stack_are_compared_with_each_other() -> None:
    """Six reach the first rung of successive halving at the same time, and two go on."""
    pruner = pruner_of("successive_halving")
    study = study_of(Storage(), pruner)
    for _ in range(6):
        study.ask()
    assert judge(study, pruner, 1, {number: float(number) for number in range(6)}) == {2, 3, 4, 5}


# Pruners.


def test_the_preset_without_pruning_is_no_pruner() -> None:
    assert build_pruner(settings()["pruner"]) is None
    assert build_pruner(None) is None


@pytest.mark.parametrize("name", PRUNERS)
def test_each_preset_is_a_pruner_with_its_own_arguments(name: str) -> None:
    node = settings(pruner=name)["pruner"]
    pruner = build_pruner(node)
    assert f"optuna.pruners.{type(pruner).__name__}" == node["_target_"]
    for key, value in node.items():
        if hasattr(pruner, f"_{key}") and key != "wrapped_pruner" and value is not None:
            assert getattr(pruner, f"_{key}") == pytest.approx(value), key
    if name == "patient":
        assert isinstance(pruner._wrapped_pruner, optuna.pruners.MedianPruner)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"_target_": "optuna.pruners.MedienPruner"}, "hydra.sweeper.pruner._target_=optuna.pruners.MedienPruner"),
        ({"_target_": "optuna.samplers.RandomSampler"}, "hydra.sweeper.pruner._target_=optuna.samplers.RandomSampler"),
        ({"_target_": "optuna.pruners.MedianPruner", "n_startup_trials": -1}, "hydra.sweeper.pruner"),
        ({"_target_": "optuna.pruners.PatientPruner", "patience": 1, "wrapped_pruner": {"_target_": "a.b"}}, "hydra"),
    ],
)
def test_a_pruner_that_cannot_be_built_is_refused(node: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as caught:
        build_pruner(node)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("storage", [None, "journal:{}/log", "sqlite:///{}/other.db"])
def test_a_job_reports_to_the_study_of_its_search(storage: str | None, tmp_path: Path) -> None:
    storage = storage and storage.format(tmp_path)
    study = open_study(tmp_path, "s", storage, directions=["minimize"])
    for _ in range(2):
        study.ask()
    report = TrialReport(str(tmp_path), "s", storage, {"_target_": "optuna.pruners.ThresholdPruner", "upper": 1.0}, 1)
    assert [report(step, value) for step, value in ((1, 0.5), (2, 2.0))] == [False, True]
    stored = open_study(tmp_path, "s", storage)
    assert [trial.intermediate_values for trial in stored.trials] == [{}, {1: 0.5, 2: 2.0}]
