"""The training curves of a sweep's configurations."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vae_lightning.runs.directory import CURVES

__all__ = ["draw_sweep_curves"]

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


def draw_sweep_curves(sweep: Path, results: pd.DataFrame, settings: Sequence[str]) -> list[tuple[str, str, Figure]]:
    """Plot the curves of each configuration's first seed; return nothing for more than ``MAX_LINES`` configurations."""
    complete = results[results["status"] == "complete"]
    # Values are compared as text, because a value may be a list.
    first_seeds = complete[~complete[[*settings]].map(str).duplicated()] if settings else complete.head(1)
    tables = {
        ", ".join(f"{axis}={job[axis]}" for axis in settings) or job["job"]: pd.read_csv(sweep / job["job"] / CURVES)
        for _, job in first_seeds.iterrows()
        if (sweep / job["job"] / CURVES).exists()
    }
    # A single point, such as that of a probe at the end of training, is no curve.
    names = [name for name in _CURVES if any(name in table and table[name].count() > 1 for table in tables.values())]
    if not names or len(tables) > MAX_LINES:
        return []
    figure = Figure(figsize=(1 + 3.2 * len(names), 3.2), dpi=120, layout="constrained")
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for label, table in tables.items():
            points = table[["epoch", name]].dropna() if name in table else pd.DataFrame({"epoch": [], name: []})
            (line,) = axes.plot(points["epoch"] + 1, points[name], marker=".", label=label)
            if name == "gradient/bias" and name in table:
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
