"""Loss against probe accuracy."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from vae_lightning.palette import COLOURS, MARKERS
from vae_lightning.reports.levels import level_text, ordered_levels, shown
from vae_lightning.reports.outliers import window

__all__ = ["draw_trade_off"]

# With more values on an axis, they are those of a search.
MOST_LEVELS = 24


def draw_trade_off(ranked: pd.DataFrame, settings: Sequence[str]) -> list[tuple[str, str, Figure]]:
    """Plot validation loss against probe accuracy, one point per configuration.

    In a grid, the first axis sets the colour, the second the marker, and the values of the others are written beside
    the point. Of many values, as in a search, the first axis alone sets the colour.
    """
    names = ["val/loss", "probe/val_acc"]
    if len(ranked) < 3 or not settings or any(name not in ranked for name in names):
        return []
    levels = [ordered_levels(ranked[axis]) for axis in settings[:2]]
    figure = Figure(figsize=(8, 5), dpi=120, layout="constrained")
    axes = figure.subplots()
    if max(map(len, levels)) > MOST_LEVELS:
        _by_colour(axes, ranked, settings[0])
        written = ""
    else:
        _by_levels(axes, ranked, settings, levels)
        written = f"; beside each point: {', '.join(settings[2:])}" if len(settings) > 2 else ""
    limits = [window(ranked[name].dropna(), higher=name.endswith("_acc")) for name in names]
    for set_limits, (ends, beyond) in ((axes.set_xlim, limits[0]), (axes.set_ylim, limits[1])):
        if beyond.any():
            set_limits(ends)
            written += f"; {beyond.sum()} beyond the axis"
    axes.set_title(shown("loss against probe accuracy" + written), fontsize=9)
    axes.set_xlabel("validation loss, nats per image")
    axes.set_ylabel("probe accuracy, validation")
    axes.grid(alpha=0.3)
    return [("trade_off", "Loss against probe accuracy", figure)]


def _by_colour(axes: Axes, ranked: pd.DataFrame, axis: str) -> None:
    """Draw the points of a search, coloured by the values of an axis if they are numbers."""
    points = {"x": ranked["val/loss"], "y": ranked["probe/val_acc"], "s": 18, "lw": 0.3, "ec": "0.3"}
    values = ranked[axis]
    if pd.api.types.is_numeric_dtype(values) and values.dtype != bool:
        log = values.min() > 0 and values.max() > 20 * values.min()
        norm = (LogNorm if log else Normalize)(values.min(), values.max())
        axes.figure.colorbar(axes.scatter(**points, c=values, norm=norm), ax=axes, label=shown(axis))
    else:
        axes.scatter(**points)


def _by_levels(axes: Axes, ranked: pd.DataFrame, settings: Sequence[str], levels: Sequence[Sequence[str]]) -> None:
    """Draw the points of a grid: the first axis sets the colour, the second the marker."""
    many = len(levels[0]) > len(COLOURS)  # they have an order, which a scale shows
    colours = [*colormaps["viridis"](np.linspace(0, 0.95, len(levels[0])))] if many else [*COLOURS]
    for _, row in ranked.iterrows():
        text = [level_text(row[axis]) for axis in settings]
        indices = [known.index(value) for known, value in zip(levels, text, strict=False)]
        marker = MARKERS[indices[1] % len(MARKERS)] if len(indices) > 1 else MARKERS[0]
        x, y = row["val/loss"], row["probe/val_acc"]
        right, up = (0 if pd.isna(row[name]) else row[name] for name in ("val/loss std", "probe/val_acc std"))
        axes.errorbar(x, y, up, right, fmt=marker, color=colours[indices[0]])
        beside = shown(", ".join(text[2:]))
        axes.annotate(beside, (x, y), (4, 3), textcoords="offset points", fontsize=7, annotation_clip=True)
    for index, value in enumerate(levels[0]):
        axes.plot([], [], "o", color=colours[index], label=shown(f"{settings[0]}={value}"))
    for index, value in enumerate(levels[1] if len(levels) > 1 else ()):
        marker = MARKERS[index % len(MARKERS)]
        axes.plot([], [], marker, color="grey", label=shown(f"{settings[1]}={value}"))
    axes.figure.legend(loc="outside right center", fontsize=8, ncols=-(-sum(map(len, levels)) // 24))
