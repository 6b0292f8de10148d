"""The Pareto front of a search with several objectives, and its hypervolume."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vae_lightning.reports.levels import metric_label
from vae_lightning.reports.outliers import window
from vae_lightning.reports.trials import Search, Trial

__all__ = ["draw_front", "front_of", "hypervolume", "hypervolumes"]

Points = npt.NDArray[np.float64]


def front_of(search: Search) -> list[Trial]:
    """Return the complete trials that no other one dominates, by the first objective.

    A trial dominates another if it is at least as good in each objective and better in one.
    """
    trials = search.complete
    costs = np.array([search.costs(trial) for trial in trials])
    front = [
        trial
        for trial, cost in zip(trials, costs, strict=True)
        if not ((costs <= cost).all(axis=1) & (costs < cost).any(axis=1)).any()
    ]
    return sorted(front, key=search.costs)


def hypervolume(points: Points, reference: Points) -> float:
    """Return the volume that the points dominate up to the reference; lower is better in each of the objectives.

    The volume is cut into slices along the last objective, whose bases are volumes of one objective fewer.

    Arguments:
        points: of shape (points, objectives).
        reference: of shape (objectives,).
    """
    points = points[(points < reference).all(axis=1)]
    if not len(points):
        return 0.0
    if len(reference) == 1:
        return float(reference[0] - points.min())
    points = points[points[:, -1].argsort()]
    heights = np.diff([*points[:, -1], reference[-1]])
    bases = [hypervolume(points[:count, :-1], reference[:-1]) for count in range(1, len(points) + 1)]
    return float(heights @ bases)


def hypervolumes(search: Search) -> list[float]:
    """Return the hypervolume of the trials up to each complete one, as a share of the box of all.

    The box extends from the best value of each objective to the worst one, without outliers, so that units do not
    matter and a trial that diverged changes nothing.
    """
    costs = np.array([search.costs(trial) for trial in search.complete])
    worst = np.array([window(column, higher=False)[0][1] for column in costs.T])
    scaled = (costs - costs.min(axis=0)) / (worst - costs.min(axis=0))
    front, volumes = np.empty((0, scaled.shape[1])), []
    for point in scaled:
        if not (front <= point).all(axis=1).any():
            front = np.array([*front[~(point <= front).all(axis=1)], point])
        volumes.append(hypervolume(front, np.ones(len(point))))
    return volumes


def draw_front(search: Search) -> list[tuple[str, str, Figure]]:
    """Plot each pair of objectives with the Pareto front, and the hypervolume over the trials."""
    front = front_of(search)
    if not front:
        return []
    pairs = [*combinations(range(len(search.objectives)), 2)]
    figure = Figure(figsize=(1 + 4 * (len(pairs) + 1), 3.6), dpi=120, layout="constrained")
    *planes, last = figure.subplots(1, len(pairs) + 1, squeeze=False)[0]
    for axes, (x, y) in zip(planes, pairs, strict=True):
        for trials, style in ((search.complete, {"color": "0.7", "zorder": 1}), (front, {"color": "tab:red"})):
            places: list[Sequence[float]] = [[trial.values[place] for trial in trials] for place in (x, y)]
            errors = [np.nan_to_num([trial.std[place] for trial in trials]) for place in (y, x)]
            label = "on the front" if trials is front else "other trials"
            axes.errorbar(*places, *errors, fmt="o", markersize=4, elinewidth=0.8, label=label, **style)
        numbers: dict[tuple[float, float], list[str]] = {}  # trials of the same values share a point
        for trial in sorted(front, key=lambda trial: trial.number):
            numbers.setdefault((trial.values[x], trial.values[y]), []).append(str(trial.number))
        for point, those in numbers.items():
            axes.annotate(", ".join(those), point, (4, 3), textcoords="offset points", fontsize=7)
        ends = [window([trial.values[place] for trial in search.complete], search.higher[place]) for place in (x, y)]
        axes.set(xlim=ends[0][0], ylim=ends[1][0])
        hidden = int((ends[0][1] | ends[1][1]).sum())
        axes.set_xlabel(metric_label(search.objectives[x]))
        axes.set_ylabel(metric_label(search.objectives[y]))
        beyond = f"; {hidden} beyond the axes" * bool(hidden)
        axes.set_title(f"Pareto front, with the trials' numbers{beyond}", fontsize=9)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    last.step([trial.number for trial in search.complete], hypervolumes(search), where="post", marker=".")
    last.set_title("hypervolume, share of the box from best to worst", fontsize=9)
    last.set_xlabel("trial")
    last.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    last.grid(alpha=0.3)
    return [("pareto_front", "Pareto front and hypervolume", figure)]
