"""The training curves of a sweep's configurations."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vae_lightning.config.errors import InputError, one_line
from vae_lightning.runs.directory import CURVES
from vae_lightning.sweeps.levels import shown

__all__ = ["draw_sweep_curves", "read_curves"]

# The metrics to plot over the epochs, each with its scale; a bias may be 0.
_CURVES: dict[str, dict[str, Any]] = {
    "train/loss": {"value": "linear"},
    "val/loss": {"value": "linear"},
    "probe/val_acc": {"value": "linear"},
    "gradient/bias": {"value": "symlog", "linthresh": 0.1},
    "gradient/variance": {"value": "log"},
}
# More lines than this cannot be distinguished.
MAX_LINES = 10


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


def draw_sweep_curves(sweep: Path, results: pd.DataFrame, settings: Sequence[str]) -> list[tuple[str, str, Figure]]:
    """Plot the curves of each configuration's first seed; return nothing for more than ``MAX_LINES`` configurations."""
    complete = results[results["status"] == "complete"]
    # Values are compared as text, because a value may be a list.
    first_seeds = complete[~complete[[*settings]].map(str).duplicated()] if settings else complete.head(1)
    if len(first_seeds) > MAX_LINES:
        return []
    tables = {
        shown(", ".join(f"{axis}={job[axis]}" for axis in settings) or job["job"]): pd.DataFrame(
            read_curves(sweep / job["job"])
        )
        for _, job in first_seeds.iterrows()
    }
    # A single point, such as that of a probe at the end of training, is no curve.
    names = [name for name in _CURVES if any(name in table and table[name].count() > 1 for table in tables.values())]
    if not names:
        return []
    figure = Figure(figsize=(1 + 3.2 * len(names), 3.2), dpi=120, layout="constrained")
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for label, table in tables.items():
            points = table[["epoch", name]].dropna() if name in table else pd.DataFrame({"epoch": [], name: []})
            (line,) = axes.plot(points["epoch"] + 1, points[name], marker=".", label=label)
            if name == "gradient/bias" and {name, "gradient/noise"} <= {*table}:
                noise = table[["epoch", "gradient/noise"]].dropna()
                axes.plot(noise["epoch"] + 1, noise["gradient/noise"], ":", color=line.get_color())
        axes.set_yscale(**_CURVES[name])
        axes.set_title(name + "; dotted: noise" * (name == "gradient/bias"), fontsize=9)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    columns = int(figure.get_figwidth() / (0.6 + 0.075 * max(map(len, labels))))  # from an entry's width in inches
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), max(1, columns)), fontsize=8)
    return [("curves", "Curves", figure)]
