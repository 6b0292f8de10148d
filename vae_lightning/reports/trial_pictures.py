"""Pictures of the trials of a search: over time, over the parameters, and over the epochs."""

import math
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from vae_lightning.reports.levels import level_text, metric_label, ordered_levels, shown
from vae_lightning.reports.outliers import window
from vae_lightning.reports.trials import Search, Trial

__all__ = ["draw_trials"]

Picture = tuple[str, str, Figure]
# The most panels in a row, and parameters in a matrix of pairs.
COLUMNS, MATRIX = 4, 4
# A conditional parameter in a trial without it, and its place among parallel coordinates.
ABSENT, BELOW = "absent", -0.12


def draw_trials(search: Search, by_importance: Sequence[str] = ()) -> list[Picture]:
    """Draw the trials of a search.

    Arguments:
        search: the trials.
        by_importance: the parameters, the most important first, if that is known.

    Returns:
        The name, title and figure of each picture that the trials allow.
    """
    pictures = []
    if search.complete:
        varied = [
            name for name in search.scales if len({level_text(trial.params.get(name)) for trial in search.complete}) > 1
        ]
        varied = [*dict.fromkeys([*(name for name in by_importance if name in varied), *varied])]
        pictures.append(("history", "History of the search", _history(search)))
        if varied:
            pictures.append(("slices", "Objective over each parameter", _slices(search, varied)))
            pictures.append(("parallel", "Parallel coordinates", _parallel(search, varied)))
        if len(varied) > 1:
            pictures.append(("pairs", "Pairs of parameters", _pairs(search, varied[:MATRIX])))
    if any(len(trial.steps) > 1 for trial in search.trials):
        pictures.append(("pruning", "Intermediate values and pruning", _pruning(search)))
    return pictures


def _history(search: Search) -> Figure:
    """Draw each objective over the trials, with the best value so far."""
    count = len(search.objectives)
    figure = Figure(figsize=(7, 0.6 + 2.6 * count), dpi=120, layout="constrained")
    trials, failed = search.complete, [trial.number for trial in search.trials if trial.state == "failed"]
    numbers = [trial.number for trial in trials]
    for place, axes in enumerate(figure.subplots(count, 1, squeeze=False, sharex=True)[:, 0]):
        values, high = np.array([trial.values[place] for trial in trials]), search.higher[place]
        limits, beyond = window(values, high)
        deviation = np.nan_to_num([trial.std[place] for trial in trials])
        axes.errorbar(numbers, values, deviation, fmt="o", markersize=4, elinewidth=0.8, label="complete")
        best = (np.maximum if high else np.minimum).accumulate(values)
        axes.step(numbers, best, color="tab:red", where="post", label="best so far")
        pruned = [trial for trial in search.trials if trial.state == "pruned" and trial.steps]
        if place == 0 and pruned:
            last = [[*trial.steps.values()][-1] for trial in pruned]
            label = "pruned, at their last value"
            axes.plot(
                [trial.number for trial in pruned],
                np.clip(last, *limits),
                "x",
                color="0.6",
                ms=4,
                label=label,
                clip_on=False,
            )
        if beyond.any():
            edge = np.clip(values, *limits)[beyond]
            style = {"color": "tab:orange", "clip_on": False, "label": "beyond the axis"}
            axes.plot(np.array(numbers)[beyond], edge, "v" if high else "^", **style)
        if failed:
            axes.plot(failed, [limits[0]] * len(failed), "|", color="black", label="failed")
        axes.set_ylim(*limits)
        axes.set_ylabel(metric_label(search.objectives[place]))
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        axes.grid(alpha=0.3)
    axes.set_xlabel("trial")
    handles = {
        label: handle for axes in figure.axes for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles, loc="outside upper center", ncols=len(handles), fontsize=8)
    return figure


def _slices(search: Search, names: Sequence[str]) -> Figure:
    """Draw each objective over each parameter."""
    bands = -(-len(names) // COLUMNS)
    columns = -(-len(names) // bands)
    count = len(search.objectives)
    figure = Figure(figsize=(1 + 2.7 * columns, 0.4 + 2.6 * bands * count), dpi=120, layout="constrained")
    panels = figure.subplots(bands * count, columns, squeeze=False)
    numbers = Normalize(0, max(trial.number for trial in search.complete) or 1)
    for axes in panels.flat:
        axes.set_visible(False)
    for place in range(count):
        limits, _ = window([trial.values[place] for trial in search.complete], search.higher[place])
        for index, name in enumerate(names):
            axes = panels[place * bands + index // columns, index % columns]
            axes.set_visible(True)
            trials = [trial for trial in search.complete if name in trial.params]
            values = np.clip([trial.values[place] for trial in trials], *limits)
            colours = [trial.number for trial in trials]
            places = _place(axes.xaxis, search, name, trials)
            points = axes.scatter(
                places, values, c=colours, norm=numbers, cmap="viridis_r", s=16, lw=0.3, ec="0.3", clip_on=False
            )
            axes.set_ylim(*limits)
            axes.set_xlabel(shown(name), fontsize=8)
            if index % columns:
                axes.tick_params(labelleft=False)
            else:
                axes.set_ylabel(metric_label(search.objectives[place]), fontsize=8)
    figure.colorbar(points, ax=panels, label="trial", shrink=min(1, 1.5 / bands / count), aspect=25)
    return figure


def _pairs(search: Search, names: Sequence[str]) -> Figure:
    """Draw the trials over each pair of parameters, coloured by the first objective."""
    size, worst_first = len(names) - 1, _worst_first(search)
    figure = Figure(figsize=(1.6 + 2.5 * size, 0.8 + 2.3 * size), dpi=120, layout="constrained")
    panels = figure.subplots(size, size, squeeze=False)
    colours = _Colours(search)
    for axes in panels.flat:
        axes.set_visible(False)
    for x, y in combinations(range(len(names)), 2):
        axes = panels[y - 1, x]
        axes.set_visible(True)
        trials = [trial for trial in worst_first if {names[x], names[y]} <= {*trial.params}]
        places = [_place(axis, search, name, trials) for axis, name in ((axes.xaxis, names[x]), (axes.yaxis, names[y]))]
        axes.scatter(*places, color=[*map(colours, trials)], s=18, lw=0.3, ec="0.3")
        if len(search.objectives) == 1 and trials and trials[-1] is worst_first[-1]:
            axes.plot(places[0][-1], places[1][-1], "*", color="tab:red", ms=11, mec="white")
        axes.set_xlabel(shown(names[x]) if y == size else "", fontsize=8)
        axes.set_ylabel(shown(names[y]) if x == 0 else "", fontsize=8)
        axes.tick_params(labelbottom=y == size, labelleft=x == 0)
    colours.bar(figure, [*panels.flat])
    return figure


def _parallel(search: Search, names: Sequence[str]) -> Figure:
    """Draw each trial as a line through its parameters and its objectives."""
    figure = Figure(figsize=(1.8 + 1.5 * (len(names) + len(search.objectives)), 4.2), dpi=120, layout="constrained")
    axes = figure.subplots()
    colours = _Colours(search)
    trials = _worst_first(search)
    columns = [
        (shown(name), [trial.params.get(name, ABSENT) for trial in trials], search.scales[name]) for name in names
    ]
    for place, objective in enumerate(search.objectives):
        values = [trial.values[place] for trial in trials]
        limits, beyond = window(values, search.higher[place])
        clipped = [*map(float, np.clip(values, *limits))]
        columns.append((metric_label(objective) + ", clipped" * bool(beyond.any()), clipped, "linear"))
    rows = []
    for column, (title, values, scale) in enumerate(columns):
        heights, ticks = _heights(values, scale)
        rows.append(heights)
        axes.axvline(column, ymin=0.13, ymax=0.96, color="0.3", linewidth=0.8, zorder=3)
        wrapped = title.replace(".", ".\n").replace(", ", ",\n")
        axes.text(column, 1.06, wrapped, ha="center", va="bottom", fontsize=8)
        for height, text in ticks.items():
            box = {"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0.8}
            axes.text(column + 0.04, height, text, va="center", fontsize=7, bbox=box, zorder=4)
    for trial, line in zip(trials, np.transpose(rows), strict=True):
        axes.plot(line, color=colours(trial), alpha=0.8, linewidth=1)
    axes.set(xlim=(-0.1, len(rows) - 0.6), ylim=(-0.16, 1.05))
    axes.set_axis_off()
    colours.bar(figure, [axes])
    return figure


def _pruning(search: Search) -> Figure:
    """Draw the first objective over the epochs, and after which epochs trials were pruned."""
    figure = Figure(figsize=(8, 3.4), dpi=120, layout="constrained")
    pruned = [trial for trial in search.trials if trial.state == "pruned" and trial.steps]
    panels = figure.subplots(1, 2 if pruned else 1, squeeze=False, width_ratios=[2, 1] if pruned else [1])[0]
    axes = panels[0]
    best = search.best_first()[0]
    late = []
    longest = max(len(trial.steps) for trial in search.trials)
    for trial in search.trials:
        steps, values = [*trial.steps], [*trial.steps.values()]
        late += values[max(1, longest // 4) :]  # the first epochs would hide the others
        style = {"color": "tab:orange" if trial.state == "pruned" else "tab:blue", "linewidth": 0.8, "alpha": 0.6}
        if trial is best and trial.state == "complete":
            style = {"color": "black", "linewidth": 1.6, "zorder": 4}
        axes.plot(steps, values, **style)
    limits, _ = window(filter(math.isfinite, late), search.higher[0])
    axes.set_ylim(*limits)
    for trial in pruned:
        last, value = [*trial.steps.items()][-1]
        axes.plot(last, np.clip(value, *limits), "x", color="tab:orange", ms=4, clip_on=False)
    axes.plot([], [], color="black", label="best")
    axes.plot([], [], color="tab:blue", label="not pruned")
    if pruned:
        hidden = sum(not limits[0] <= [*trial.steps.values()][-1] <= limits[1] for trial in pruned)
        label = "pruned" + f", {hidden} beyond the axis" * bool(hidden)
        axes.plot([], [], color="tab:orange", marker="x", label=label)
    axes.legend(fontsize=8)
    more = any(len(trial.jobs) > 1 for trial in search.trials)
    axes.set_xlabel("epoch of the first seed, then one step for each further seed" if more else "epoch")
    axes.set_ylabel(metric_label(search.objectives[0]))
    if pruned:
        ends = [max(trial.steps) for trial in pruned]
        panels[1].bar(*np.unique(ends, return_counts=True), color="tab:orange")
        panels[1].set_xlabel("last epoch before pruning")
        panels[1].set_ylabel("trials")
        panels[1].yaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    for axes in panels:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
        axes.grid(alpha=0.3)
    return figure


def _worst_first(search: Search) -> list[Trial]:
    """Return the complete trials in the order of drawing, so that no good one is hidden."""
    return sorted(search.complete, key=search.costs, reverse=True)


class _Colours:
    """The colours of trials by their ranks in the first objective: the brighter, the worse."""

    def __init__(self, search: Search) -> None:
        self.search = search
        self.values = np.array([trial.values[0] for trial in search.complete])
        self.scale = ScalarMappable(Normalize(0, 1), "viridis_r" if search.higher[0] else "viridis")

    def __call__(self, trial: Trial) -> Any:
        return self.scale.to_rgba(np.mean(self.values < trial.values[0]))  # type: ignore[arg-type]

    def bar(self, figure: Figure, panels: Sequence[Axes]) -> None:
        """Draw the colour bar, with the quartiles of the objective."""
        bar = figure.colorbar(self.scale, ax=panels, aspect=30)
        quartiles = [0, 0.25, 0.5, 0.75, 1]
        bar.set_ticks(quartiles, labels=[f"{value:.4g}" for value in np.quantile(self.values, quartiles)])
        bar.set_label(f"{metric_label(self.search.objectives[0])}; colours by rank")


def _place(axis: Any, search: Search, name: str, trials: Sequence[Trial]) -> npt.NDArray[np.float64]:
    """Set an axis's scale and ticks to a parameter's; return the trials' places."""
    values = [trial.params[name] for trial in trials]
    axis.set_tick_params(labelsize=7)
    axis.axes.grid(alpha=0.3)
    if search.scales[name] == "categorical":
        levels = ordered_levels(values)
        crowded = len("".join(map(shown, levels))) > 18 and axis.axis_name == "x"
        axis.set_ticks(range(len(levels)), [*map(shown, levels)], rotation=90 if crowded else 0)
        # Beside each other instead of on top of each other, the same way in each picture.
        spread = 0.3 * (np.random.default_rng(0).random(len(values)) - 0.5)
        return np.array([levels.index(level_text(value)) for value in values]) + spread
    numbers = np.array(values, dtype=float)
    if search.scales[name] == "log":
        getattr(axis.axes, f"set_{axis.axis_name}scale")("log")
        if len(numbers) and numbers.max() < 100 * numbers.min():
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter(lambda value, _: f"{value:.4g}")
        axis.set_minor_formatter(NullFormatter())
    else:
        axis.set_major_locator(MaxNLocator(4, integer=all(isinstance(value, int) for value in values)))
    return numbers


def _heights(values: Sequence[Any], scale: str) -> tuple[list[float], dict[float, str]]:
    """Return the values' heights in [0, 1], below it for absent ones, and the text of each tick by its height."""
    present = [value for value in values if value is not ABSENT]
    if scale == "categorical":
        levels = ordered_levels(present)
        known = [float(levels.index(level_text(value))) for value in present]
        marks = {float(place): shown(level) for place, level in enumerate(levels)}
    else:
        known = [math.log(value) if scale == "log" else float(value) for value in present]
        places = np.linspace(min(known), max(known), 5 if min(known) < max(known) else 1)
        digits = 4 if scale == "linear" else 3
        marks = {float(place): f"{math.exp(place) if scale == 'log' else place:.{digits}g}" for place in places}
        if all(isinstance(value, int) for value in present):
            whole = [round(math.exp(place) if scale == "log" else place) for place in places]
            marks = {math.log(value) if scale == "log" else float(value): str(value) for value in whole}
    low, span = min(known), max(known) - min(known)
    scaled = iter([(place - low) / span if span else 0.5 for place in known])
    ticks = {(place - low) / span if span else 0.5: text for place, text in marks.items()}
    if len(present) < len(values):
        ticks[BELOW] = ABSENT
    return [BELOW if value is ABSENT else next(scaled) for value in values], ticks
