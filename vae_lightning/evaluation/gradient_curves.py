"""Bias and variance of gradient estimators over the steps, as a plot."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from vae_lightning.palette import COLOURS, MARKERS

__all__ = ["as_image", "draw_gradient_curves"]

COLUMNS = 6  # of the legend
# The least bias that the axis shows: exact gradients have one of rounding.
LEAST = 1e-3


def draw_gradient_curves(history: Sequence[Mapping[str, float]]) -> Figure:
    """Plot variance and bias of each estimator's gradient over the optimiser steps.

    A bias below the one that noise hides cannot be told from 0: the point is hollow, and lies at the latter.

    Arguments:
        history: the measurements: ``step``, and ``gradient/NAME/variance``, ``bias`` and ``noise`` of each estimator,
            without ``NAME/`` if there is one alone.
    """
    names = [name.removesuffix("variance") for name in history[-1] if name.endswith("/variance")]
    steps = [row["step"] for row in history]
    rows = math.ceil(len(names) / COLUMNS)
    figure = Figure(figsize=(9, 3.4 + 0.2 * rows), dpi=120, layout="constrained")
    left, right = figure.subplots(1, 2)
    for place, name in enumerate(names):
        colour, marker = COLOURS[place % len(COLOURS)], MARKERS[place % len(MARKERS)]
        label = name.removeprefix("gradient/").removesuffix("/") or "the model's own"
        variance, bias, noise = (
            np.array([row.get(f"{name}{key}", np.nan) for row in history]) for key in ("variance", "bias", "noise")
        )
        variance = np.where(variance > 0, variance, np.nan)  # that of an exact gradient
        line = {"color": colour, "marker": marker, "markersize": 4.5, "linewidth": 1.2}
        left.plot(steps, variance, **line, label=label)
        found, least = bias > noise, np.maximum(np.maximum(bias, noise), LEAST)
        right.plot(steps, least, **line, markevery=found, alpha=0.9)
        right.plot(
            steps, least, linestyle="", marker=marker, markersize=4.5, color=colour, mfc="white", markevery=~found
        )
    for axes, title in (
        (left, "variance of a gradient, relative to the squared norm"),
        (right, "bias, relative to the norm; hollow: less, noise hides it"),
    ):
        axes.set_yscale("log")
        axes.set_title(title, fontsize=9)
        axes.set_xlabel("optimiser step")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.ticklabel_format(axis="x", scilimits=(-2, 5))
        axes.grid(alpha=0.3)
    if len(names) > 1:
        figure.legend(loc="outside lower center", ncols=min(len(names), COLUMNS), fontsize=8)
    return figure


def as_image(figure: Figure) -> Tensor:
    """Return a figure as pixels ``(3, H, W)`` in [0, 1]."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = torch.from_numpy(np.array(canvas.buffer_rgba()))
    return pixels[..., :3].permute(2, 0, 1) / 255
