"""Metrics over the axes of a sweep: heat maps, or a curve over one axis."""

from collections.abc import Sequence
from itertools import product

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from vae_lightning.reports.levels import level_text, ordered_levels, shown

__all__ = ["draw_metrics"]

# The most heat maps side by side.
MAX_PANELS = 6
# Heat maps with a smaller share of cells are those of scattered points, such as another sweeper's random search.
LEAST_FILLED = 0.2


def draw_metrics(ranked: pd.DataFrame, settings: Sequence[str]) -> list[tuple[str, str, Figure]]:
    """Draw loss and accuracy as heat maps over two or more axes, or as a curve over one.

    Returns:
        The name, title and figure of each metric.
    """
    if not len(ranked) or not settings:
        return []
    metrics = {"val/loss": "validation loss, nats per image", "probe/val_acc": "probe accuracy, validation"}
    draw = _curve if len(settings) == 1 else _heat_maps
    drawn = [(name, title, draw(ranked, settings, name, title)) for name, title in metrics.items() if name in ranked]
    return [(name.replace("/", "_"), title, figure) for name, title, figure in drawn if figure is not None]


def _heat_maps(ranked: pd.DataFrame, settings: Sequence[str], name: str, title: str) -> Figure | None:
    """Draw a heat map over the first two axes for each combination of the others.

    Returns:
        None if there would be too many heat maps, or nearly empty ones.
    """
    others = [", ".join(f"{axis}={level_text(row[axis])}" for axis in settings[2:]) for _, row in ranked.iterrows()]
    rows, columns = (ordered_levels(ranked[axis]) for axis in settings[:2])
    combinations = product(*([f"{axis}={level}" for level in ordered_levels(ranked[axis])] for axis in settings[2:]))
    panels = [panel for panel in map(", ".join, combinations) if panel in others]
    if len(panels) > MAX_PANELS or len(ranked) < LEAST_FILLED * len(rows) * len(columns) * len(panels):
        return None
    digits = 3 if name.endswith("_acc") else 1
    cell = min(1.1, 12 / (len(columns) * len(panels)))  # inches
    figure = Figure(
        figsize=(2 + max(cell * len(columns), 1.5) * len(panels), 1.4 + min(0.55, 12 / len(rows)) * len(rows)),
        dpi=120,
        layout="constrained",
    )
    for axes, panel in zip(figure.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels, strict=True):
        table = np.full((len(rows), len(columns)), np.nan)
        for (_, row), other in zip(ranked.iterrows(), others, strict=True):
            if other == panel:
                place = rows.index(level_text(row[settings[0]])), columns.index(level_text(row[settings[1]]))
                table[place] = row[name]
                if cell >= 0.5:
                    box = {"facecolor": "black", "alpha": 0.35, "linewidth": 0, "pad": 1.5}
                    text = axes.text(*place[::-1], f"{row[name]:.{digits}f}", ha="center", va="center", fontsize=8)
                    text.set(color="white", bbox=box)
        # Brighter is better.
        image = axes.imshow(
            table,
            cmap="viridis" if name.endswith("_acc") else "viridis_r",
            aspect="auto",
            vmin=ranked[name].min(),
            vmax=ranked[name].max(),
        )
        crowded = len("".join(map(shown, columns))) * 0.1 > cell * len(columns)
        axes.set_xticks(range(len(columns)), [*map(shown, columns)], rotation=90 if crowded else 0)
        axes.set_yticks(range(len(rows)), [*map(shown, rows)])
        axes.set_xlabel(shown(settings[1]))
        axes.set_title(shown(panel), fontsize=9)
    figure.axes[0].set_ylabel(shown(settings[0]))
    figure.suptitle(title, fontsize=10)
    if ranked[name].nunique() > 1:
        figure.colorbar(image, ax=figure.axes)
    return figure


def _curve(ranked: pd.DataFrame, settings: Sequence[str], name: str, title: str) -> Figure:
    (axis,) = settings
    figure = Figure(figsize=(5, 3), dpi=120, layout="constrained")
    axes = figure.subplots()
    if pd.api.types.is_numeric_dtype(ranked[axis]) and ranked[axis].dtype != bool:
        table = ranked.sort_values(axis)
        axes.errorbar(table[axis], table[name], yerr=table[f"{name} std"].fillna(0), marker="o", capsize=3)
        if (table[axis] > 0).all() and table[axis].max() / table[axis].min() > 20:
            axes.set_xscale("log")
    else:
        levels = ordered_levels(ranked[axis])
        places = [levels.index(level_text(value)) for value in ranked[axis]]
        axes.errorbar(places, ranked[name], yerr=ranked[f"{name} std"].fillna(0), fmt="o", capsize=3)
        crowded = len("".join(map(shown, levels))) > 45
        axes.set_xticks(range(len(levels)), [*map(shown, levels)], rotation=90 if crowded else 0)
        axes.margins(x=0.2)
    axes.set_xlabel(shown(axis))
    axes.set_ylabel(name)
    axes.set_title(title, fontsize=9)
    axes.grid(alpha=0.3)
    return figure
