"""The training curves of a sweep's configurations."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from vae_lightning.config.errors import InputError, one_line
from vae_lightning.evaluation.curves import late_range
from vae_lightning.palette import COLOURS
from vae_lightning.reports.levels import shown
from vae_lightning.runs.directory import CURVES

__all__ = ["draw_sweep_curves", "read_curves"]

# The metrics to plot over the epochs, each with its unit and scale; a bias may be 0.
_CURVES: dict[str, tuple[str, dict[str, Any]]] = {
    "train/loss": ("nats per image", {"value": "linear"}),
    "val/loss": ("nats per image", {"value": "linear"}),
    "probe/val_acc": ("share of images", {"value": "linear"}),
    "gradient/bias": ("relative; dotted: its noise", {"value": "symlog", "linthresh": 0.1}),
    "gradient/variance": ("relative", {"value": "log"}),
}


def read_curves(run: Path) -> dict[str, list[float]]:
    """Return the columns of a run's ``metrics.csv``, with NaN for an empty cell; no column if there is no such file.

    Raises:
        InputError: if the file is damaged.
    """
    try:
        with (run / CURVES).open(newline="") as file:
            names, *rows = csv.reader(file)
        columns = {name: [float(cell or "nan") for cell in cells] for name, *cells in zip(names, *rows, strict=True)}
        if "epoch" not in columns:
            raise ValueError("there is no column epoch")
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(
            f"{run / CURVES}: is damaged ({one_line(error)}); remove it, or start the job over with restart=true"
        ) from error
    return columns


def draw_sweep_curves(
    sweep: Path, results: pd.DataFrame, settings: Sequence[str], objective: str | None
) -> list[tuple[str, str, Figure]]:
    """Plot the curves of the configurations: the best ones in colour, the others and the pruned ones in grey.

    A line is the mean over seeds, and a coloured line's band is ± the standard deviation (with n - 1). The first
    quarter of the epochs does not determine the range of a linear axis.

    Arguments:
        sweep: the sweep's folder.
        results: the jobs, as :func:`vae_lightning.reports.results.read_jobs` returns them.
        settings: the columns in which configurations differ.
        objective: the metric by which they are ranked, if there is one.
    """
    best, others = _configurations(results, settings, objective)
    coloured = {label: _over_seeds(sweep, jobs) for label, jobs in best.items()}
    grey = [_over_seeds(sweep, jobs) for jobs in others]
    # A single point, such as that of a probe at the end of training, is no curve.
    tables = [mean for mean, _ in (*coloured.values(), *grey)]
    names = [name for name in _CURVES if any(name in table and table[name].count() > 1 for table in tables)]
    if not names:
        return []
    figure = Figure(figsize=(1 + 3.2 * len(names), 3.2 + 0.1 * len(coloured)), dpi=120, layout="constrained")
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for mean, _ in grey:
            if name in mean:
                line = mean[name].dropna()
                axes.plot(line.index + 1, line, color="0.8", linewidth=0.7, zorder=1)
        drawn: list[list[float]] = []
        for colour, (label, (mean, deviation)) in zip(COLOURS, coloured.items(), strict=False):
            line = mean[name].dropna() if name in mean else pd.Series(dtype=float)
            marker = "." if len(line) <= 30 else None
            axes.plot(line.index + 1, line, color=colour, marker=marker, linewidth=1.2, label=label)
            band = deviation[name].reindex(line.index).fillna(0) if name in mean else line
            if band.any() and name != "gradient/bias":  # which has its noise instead
                axes.fill_between(line.index + 1, line - band, line + band, color=colour, alpha=0.2, lw=0)
            if name == "gradient/bias" and "gradient/noise" in mean:
                noise = mean["gradient/noise"].dropna()
                axes.plot(noise.index + 1, noise, ":", color=colour)
            drawn += [[*(line - band)], [*(line + band)]]
        unit, scale = _CURVES[name]
        axes.set_yscale(**scale)
        if scale["value"] == "linear" and (limits := late_range(drawn)) is not None:
            axes.set_ylim(limits)
        elif scale["value"] == "symlog":
            axes.set_ylim(bottom=0)
        elif positive := [value for each in coloured.values() for value in each[0].get(name, []) if value > 0]:
            # A band may reach below 0, where a logarithmic axis ends nowhere.
            axes.set_ylim(bottom=min(positive) / 2)
        axes.set_title(name, fontsize=9)
        axes.set_xlabel("epoch")
        axes.set_ylabel(unit, fontsize=8)
        axes.tick_params(labelsize=8)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    if grey:
        handles, labels = [*handles, Line2D([], [], color="0.8")], [*labels, f"{len(grey)} others"]
    columns = int(figure.get_figwidth() / (0.6 + 0.075 * max(map(len, labels))))  # from an entry's width in inches
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), max(1, columns)), fontsize=8)
    return [("curves", "Curves", figure)]


def _configurations(
    results: pd.DataFrame, settings: Sequence[str], objective: str | None
) -> tuple[dict[str, list[str]], list[list[str]]]:
    """Return the jobs of each of the best configurations by label, best first, and those of each other one."""
    jobs = results[results["status"].isin(["complete", "pruned"])]
    # Values are compared as text, because a value may be a list.
    keys = [jobs[axis].map(str) for axis in settings] or [pd.Series("", jobs.index)]
    groups = [group for _, group in jobs.groupby(keys, sort=False)]
    if objective in results:
        worst_first = (objective or "").endswith("_acc")
        means = pd.Series([group[objective].mean() for group in groups], dtype=float)
        groups = [groups[place] for place in means.sort_values(ascending=not worst_first, kind="stable").index]
    best: dict[str, list[str]] = {}
    others = []
    for group in groups:
        complete = group[group["status"] == "complete"]
        if len(complete) and len(best) < len(COLOURS):
            first = complete.iloc[0]
            values = [f"{axis}={first[axis]}" for axis in settings if first[axis] is not None]  # absent by a condition
            label = ", ".join(values) or first["job"]
            best[shown(label)] = complete["job"].to_list()
        else:
            others.append((complete if len(complete) else group)["job"].to_list())
    return best, others


def _over_seeds(sweep: Path, jobs: Sequence[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the mean and the standard deviation of the jobs' curves, indexed by epoch."""
    curves = [pd.DataFrame(read_curves(sweep / job) or {"epoch": []}) for job in jobs]
    by_epoch = pd.concat(curves).groupby("epoch")
    return by_epoch.mean(), by_epoch.std()
