"""Loss against probe accuracy."""

from collections.abc import Sequence

import pandas as pd
from matplotlib import colormaps
from matplotlib.figure import Figure

from vae_lightning.sweeps.levels import level_text, ordered_levels, shown

__all__ = ["draw_trade_off"]

_MARKERS = "osD^vP*X<>pH"


def draw_trade_off(ranked: pd.DataFrame, settings: Sequence[str]) -> list[tuple[str, str, Figure]]:
    """Plot validation loss against probe accuracy, one point per configuration.

    The first axis sets the colour, the second the marker, and the values of the others are written beside the point.
    """
    names = ["val/loss", "probe/val_acc"]
    if len(ranked) < 3 or not settings or any(name not in ranked for name in names):
        return []
    figure = Figure(figsize=(8, 5), dpi=120, layout="constrained")
    axes = figure.subplots()
    levels = [ordered_levels(ranked[axis]) for axis in settings[:2]]
    colours = colormaps["tab10" if len(levels[0]) <= 10 else "turbo"].resampled(max(10, len(levels[0])))
    for _, row in ranked.iterrows():
        text = [level_text(row[axis]) for axis in settings]
        indices = [known.index(value) for known, value in zip(levels, text, strict=False)]
        marker = _MARKERS[indices[1] % len(_MARKERS)] if len(indices) > 1 else _MARKERS[0]
        errors = [0 if pd.isna(row[f"{name} std"]) else row[f"{name} std"] for name in names]
        axes.errorbar(row[names[0]], row[names[1]], errors[1], errors[0], fmt=marker, color=colours(indices[0]))
        beside, place = shown(", ".join(text[2:])), (row[names[0]], row[names[1]])
        axes.annotate(beside, place, (4, 3), textcoords="offset points", fontsize=7)
    for index, value in enumerate(levels[0]):
        axes.plot([], [], "o", color=colours(index), label=shown(f"{settings[0]}={value}"))
    for index, value in enumerate(levels[1] if len(levels) > 1 else ()):
        marker = _MARKERS[index % len(_MARKERS)]
        axes.plot([], [], marker, color="grey", label=shown(f"{settings[1]}={value}"))
    written = f"; beside each point: {', '.join(settings[2:])}" if len(settings) > 2 else ""
    axes.set_title(shown("loss against probe accuracy" + written), fontsize=9)
    axes.set_xlabel("validation loss, nats per image")
    axes.set_ylabel("probe accuracy, validation")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right center", fontsize=8, ncols=-(-sum(map(len, levels)) // 24))
    return [("trade_off", "Loss against probe accuracy", figure)]
