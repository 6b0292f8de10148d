"""How much of a search's variance each parameter explains."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.figure import Figure

from vae_lightning.reports.levels import level_text, shown
from vae_lightning.reports.trials import Search

__all__ = ["LEAST", "Importances", "draw_importances", "find_importances"]

# Among fewer trials, the ranking of the parameters is mostly chance: in searches of a function of four parameters, two
# of which matter, the two were found in one search of five with 10 trials, and in three of five with 20.
LEAST = 20
# Trees of this depth give the importances of full ones within 0.02, in a third of the time.
RESAMPLES, TREES, DEPTH = 10, 16, 6
# The most trials in a resample: the time grows with them, and deviations of larger searches are only overestimated.
MOST = 200


class Importances(NamedTuple):
    """The importances of the parameters for one objective, as shares of 1.

    Attributes:
        objective: the name of the metric.
        mean: the mean over bootstrap resamples of the trials, by parameter, the most important first.
        std: the standard deviation over them.
    """

    objective: str
    mean: dict[str, float]
    std: dict[str, float]


def find_importances(search: Search) -> list[Importances]:
    """Return the importances for each objective; nothing for fewer than ``LEAST`` complete trials.

    The importance of a parameter is its share of the variance of the trials' ranks by the objective, by fANOVA (Hutter
    et al., 2014, https://proceedings.mlr.press/v32/hutter14.html), on the scale on which it was searched: that of the
    logarithm, if the parameter has a log scale. Parameters that only some trials have are left out.
    """
    trials = search.complete
    names = [
        name
        for name in search.scales
        if all(name in trial.params for trial in trials) and len({str(trial.params[name]) for trial in trials}) > 1
    ]
    if len(trials) < LEAST or not names:
        return []
    columns = {name: _column([trial.params[name] for trial in trials], search.scales[name]) for name in names}
    found = []
    for place, objective in enumerate(search.objectives):
        # Ranks, because otherwise a few trials that diverged would have all of the variance.
        ranks = pd.Series([trial.values[place] for trial in trials]).rank().to_numpy()
        if np.ptp(ranks) == 0:
            continue
        generator = np.random.default_rng(0)
        drawn = [generator.integers(len(trials), size=min(len(trials), MOST)) for _ in range(RESAMPLES)]
        table = pd.DataFrame([_fanova(columns, ranks, rows) for rows in drawn])
        table = table[table.mean().sort_values(ascending=False).index]
        found.append(Importances(objective, table.mean().to_dict(), table.std().to_dict()))
    return found


def draw_importances(search: Search, found: Sequence[Importances]) -> list[tuple[str, str, Figure]]:
    """Draw the importances as bars, with their standard deviations."""
    if not found:
        return []
    bars = len(found[0].mean)
    figure = Figure(figsize=(1.5 + 3.8 * len(found), 1 + 0.34 * bars), dpi=120, layout="constrained")
    for axes, (objective, mean, std) in zip(figure.subplots(1, len(found), squeeze=False)[0], found, strict=True):
        axes.barh(range(bars), [*mean.values()], xerr=[*std.values()], color="tab:blue", ecolor="0.3", capsize=3)
        axes.set_yticks(range(bars), [*map(shown, mean)], fontsize=8)
        axes.invert_yaxis()
        axes.set_xlim(left=0)
        axes.set_title(shown(objective), fontsize=9)
        axes.set_xlabel("share of the variance of the ranks", fontsize=8)
        axes.grid(alpha=0.3, axis="x")
    if left_out := [name for name in search.scales if any(name not in trial.params for trial in search.complete)]:
        figure.supxlabel(f"not assessed, because only some trials have them: {shown(', '.join(left_out))}", fontsize=8)
    return [
        ("importances", "Importance of the parameters, \N{PLUS-MINUS SIGN} standard deviation over resamples", figure)
    ]


def _column(values: Sequence[Any], scale: str) -> list[Any]:
    """Return the values on the scale on which they were searched; texts are categories."""
    if scale == "categorical":
        return [*map(level_text, values)]
    return [*map(math.log, values)] if scale == "log" else [*map(float, values)]


def _fanova(
    columns: Mapping[str, Sequence[Any]], targets: npt.NDArray[np.float64], rows: Iterable[int]
) -> dict[str, float]:
    """Return the importances by the given trials, which sum up to 1."""
    import optuna  # imported here because it takes a second

    distributions: dict[str, optuna.distributions.BaseDistribution] = {
        name: optuna.distributions.CategoricalDistribution(sorted({*column}))
        if isinstance(column[0], str)
        else optuna.distributions.FloatDistribution(min(column), max(column))
        for name, column in columns.items()
    }
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it reports each new study
    study = optuna.create_study()
    optuna.logging.set_verbosity(level)
    for row in rows:
        params = {name: column[row] for name, column in columns.items()}
        study.add_trial(optuna.create_trial(params=params, distributions=distributions, value=targets[row]))
    evaluator = optuna.importance.FanovaImportanceEvaluator(n_trees=TREES, max_depth=DEPTH, seed=0)
    return optuna.importance.get_param_importances(study, evaluator=evaluator)
