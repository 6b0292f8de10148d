"""The trials of a search, as its report needs them."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from vae_lightning.sweeps.study import NOT_COUNTED, stored_study

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

__all__ = ["Search", "Trial", "read_search"]

_STATES = {"FAIL": "failed"}


class Trial(NamedTuple):
    """A trial of a search.

    Attributes:
        number: Optuna's number of the trial.
        state: ``complete``, ``pruned``, ``failed``, ``running`` or ``waiting``.
        values: the objectives, averaged over seeds; NaN if the trial is not complete.
        std: their standard deviations over seeds; NaN for a single seed.
        params: the values that the search has chosen.
        steps: the first objective by epoch of the first seed, then one step for each further seed.
        trained: the epochs trained.
        planned: the epochs that the trial has without pruning.
        seconds: the time of the trial's jobs; NaN if it is not known.
        jobs: the folders of its jobs, relative to the sweep's.
    """

    number: int
    state: str
    values: list[float]
    std: list[float]
    params: dict[str, Any]
    steps: dict[int, float]
    trained: int
    planned: int
    seconds: float
    jobs: list[str]


class Search(NamedTuple):
    """The trials of a search, without those that do not count.

    Attributes:
        objectives: the names of the metrics.
        higher: whether higher is better, for each objective.
        trials: the trials by number.
        scales: the scale of each parameter.
    """

    objectives: list[str]
    higher: list[bool]
    trials: list[Trial]
    scales: dict[str, Literal["linear", "log", "categorical"]]

    @property
    def complete(self) -> list[Trial]:
        """The complete trials by number, without those that diverged to infinity."""
        return [trial for trial in self.trials if trial.state == "complete" and all(map(math.isfinite, trial.values))]

    def costs(self, trial: Trial) -> list[float]:
        """Return the trial's objectives with signs by which lower is better."""
        return [-value if high else value for value, high in zip(trial.values, self.higher, strict=True)]

    def best_first(self) -> list[Trial]:
        """Return the complete trials by the first objective, then the others by state."""
        order = ["complete", "pruned", "running", "waiting", "failed"]
        return sorted(self.trials, key=lambda trial: (order.index(trial.state), _key(self.costs(trial)), trial.number))


def read_search(sweep: Path) -> Search | None:
    """Return the trials of a sweep that is a search; None if the sweep is no search."""
    study = stored_study(sweep)
    if study is None:
        return None
    stored = [trial for trial in study.get_trials(deepcopy=False) if NOT_COUNTED not in trial.user_attrs]
    count = len(study.directions)
    objectives = study.user_attrs.get("objectives") or [f"objective {place}" for place in range(1, count + 1)]
    distributions = {name: which for trial in stored for name, which in trial.distributions.items()}
    return Search(
        [*objectives],
        [direction.name == "MAXIMIZE" for direction in study.directions],
        [_trial(trial, count) for trial in stored],
        {name: _scale(which) for name, which in sorted(distributions.items())},
    )


def _trial(trial: "FrozenTrial", count: int) -> Trial:
    attributes: Mapping[str, Any] = trial.user_attrs
    unknown = [math.nan] * count
    std, epochs = attributes.get("std"), attributes.get("epochs", {})
    duration = None if trial.duration is None else trial.duration.total_seconds()
    seconds = attributes.get("seconds", duration)
    return Trial(
        trial.number,
        _STATES.get(trial.state.name, trial.state.name.lower()),
        trial.values if trial.state.name == "COMPLETE" else unknown,
        unknown if std is None else [*std] if isinstance(std, Iterable) else [std],
        trial.params,
        dict(sorted(trial.intermediate_values.items())),
        round(epochs.get("trained", 0)),
        epochs.get("planned", 0),
        math.nan if seconds is None else seconds,
        attributes.get("jobs", []),
    )


def _scale(distribution: "BaseDistribution") -> Literal["linear", "log", "categorical"]:
    if hasattr(distribution, "choices"):
        return "categorical"
    return "log" if getattr(distribution, "log", False) else "linear"


def _key(costs: Iterable[float]) -> list[float]:
    return [math.inf if math.isnan(cost) else cost for cost in costs]
