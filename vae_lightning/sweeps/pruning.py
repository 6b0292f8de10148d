"""Pruning: intermediate values of trials, and the verdicts of the study's pruner on them."""

import math
import warnings
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import optuna

from vae_lightning.config.targets import build
from vae_lightning.sweeps.rules import prunes
from vae_lightning.sweeps.study import open_study, study_in_memory

__all__ = ["TrialReport", "build_pruner", "judge", "stored_verdict"]

# The user attribute of a trial that holds the last verdict: the step, whether the trial is pruned, and what the pruner
# has noted, such as the rungs of successive halving. A single write, so that a kill leaves all of it or nothing.
VERDICT = "verdict"


def build_pruner(node: Mapping[str, Any] | None) -> optuna.pruners.BasePruner | None:
    """Build a pruner, which may wrap another one; None if there is none, or it prunes nothing.

    Raises:
        InputError: if there is no such class, or it refuses its arguments.
    """
    if node is None or not prunes(node):
        return None
    key, wrapped = "hydra.sweeper.pruner", node.get("wrapped_pruner")
    inner = {} if wrapped is None else {"wrapped_pruner": build_pruner(wrapped)}
    outer = {name: value for name, value in node.items() if name != "wrapped_pruner"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return build(key, outer, optuna.pruners.BasePruner, **inner)  # type: ignore[type-abstract]


def judge(
    study: optuna.Study, pruner: optuna.pruners.BasePruner | None, step: int, values: Mapping[int, float]
) -> set[int]:
    """Store the intermediate values of trials, and return the numbers of those that the pruner prunes.

    The trials are judged at the same time, each with the values of all others. Whatever was stored before a kill stays
    as it is, so the same call ends with the same verdicts.

    Arguments:
        study: the study.
        pruner: the pruner; None prunes no trial.
        step: the epoch to which the values belong.
        values: the value of each trial, by its number; a value that is not finite is left out.
    """
    trials = study.get_trials(deepcopy=False)
    values = {number: value for number, value in sorted(values.items()) if math.isfinite(value)}
    # A trial may have ended because another command has taken its worker for dead.
    running = [number for number in values if not trials[number].state.is_finished()]
    for number in running:
        if step not in trials[number].intermediate_values:
            optuna.Trial(study, trials[number]._trial_id).report(values[number], step)
    if pruner is None:
        return set()
    verdicts = {number: stored_verdict(trials[number]) for number in values}
    waiting = [number for number in running if verdicts[number]["step"] < step]
    found = _judged_together(study, pruner, waiting)
    for number, (pruned, notes) in found.items():
        verdicts[number] = {"step": step, "pruned": pruned, "noted": verdicts[number]["noted"] | notes}
        optuna.Trial(study, trials[number]._trial_id).set_user_attr(VERDICT, verdicts[number])
    return {number for number, verdict in verdicts.items() if verdict["pruned"] and verdict["step"] == step}


def _judged_together(
    study: optuna.Study, pruner: optuna.pruners.BasePruner, numbers: Sequence[int]
) -> dict[int, tuple[bool, dict[str, Any]]]:
    """Return the verdict on each trial, and what the pruner notes of it, as if each were the last one to be judged.

    Successive halving compares a trial with what it has noted of those before. In a stack, all reach a rung at the same
    time: in any fixed order, the first would be compared with none.
    """
    replica = _replica(study, pruner, {})
    found = {number: _asked(replica, pruner, number) for number in numbers}
    notes = {number: noted for number, (_, noted) in found.items() if noted}
    if len(numbers) > 1 and notes:
        for number in numbers:
            others = {other: noted for other, noted in notes.items() if other != number}
            found[number] = _asked(_replica(study, pruner, others), pruner, number)
    return found


def _asked(replica: optuna.Study, pruner: optuna.pruners.BasePruner, number: int) -> tuple[bool, dict[str, Any]]:
    """Ask the pruner about a trial; return its verdict and what it has noted of the trial."""
    trial = replica.get_trials(deepcopy=False)[number]
    before = {*trial.system_attrs}
    pruned = bool(pruner.prune(replica, trial))
    after = replica.get_trials(deepcopy=False)[number].system_attrs
    return pruned, {key: value for key, value in after.items() if key not in before}


def stored_verdict(trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
    """Return the last verdict on a trial: ``step``, 0 if there is none, ``pruned``, and what the pruner has noted."""
    verdict: dict[str, Any] = trial.user_attrs.get(VERDICT, {"step": 0, "pruned": False, "noted": {}})
    return verdict


def _replica(
    study: optuna.Study, pruner: optuna.pruners.BasePruner, notes: Mapping[int, Mapping[str, Any]]
) -> optuna.Study:
    """Return a copy in memory, in which a pruner may note something without leaving half of it in the study.

    Arguments:
        study: the study.
        pruner: its pruner.
        notes: what the pruner has noted of trials besides what their verdicts hold, by number.
    """
    trials = [*map(copy, study.get_trials(deepcopy=False))]
    for trial in trials:
        trial.system_attrs = {**trial.system_attrs, **stored_verdict(trial)["noted"], **notes.get(trial.number, {})}
    return study_in_memory(study, trials, pruner=pruner)


@dataclass(frozen=True)
class TrialReport:
    """Reports the intermediate values of one trial from the process of its job, wherever that runs.

    Arguments:
        sweep: the sweep's folder.
        study: the study's name.
        storage: where it is stored, as for :func:`vae_lightning.sweeps.study.open_study`.
        pruner: ``_target_`` and arguments of the pruner; None prunes no trial.
        number: the trial's number.
    """

    sweep: str
    study: str
    storage: str | None
    pruner: Mapping[str, Any] | None
    number: int

    def __call__(self, step: int, value: float) -> bool:
        """Report the value of a step; return whether the trial is pruned."""
        study, pruner = self._opened
        return self.number in judge(study, pruner, step, {self.number: value})

    @cached_property
    def _opened(self) -> tuple[optuna.Study, optuna.pruners.BasePruner | None]:
        return open_study(Path(self.sweep), self.study, self.storage), build_pruner(self.pruner)
