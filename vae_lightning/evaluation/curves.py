"""Training curves as a plot."""

import math
from collections.abc import Iterable, Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vae_lightning.palette import COLOURS

__all__ = ["draw_curves", "late_range"]

# Powers of ten outside which an axis has a factor, to keep tick labels short. The margins are fixed, because fitting
# them takes matplotlib as long as all the rest.
SHORT = (-2, 4)


def late_range(curves: Iterable[Sequence[float]], also: Iterable[float] = ()) -> tuple[float, float] | None:
    """Return the range of an axis that the first quarter of each curve does not determine, because it would hide
    the differences between later points.

    Arguments:
        curves: the values of each curve in the order of its points; those that are not finite are ignored.
        also: further values that must lie within the range.

    Returns:
        The ends of the axis; None if there is no finite value.
    """
    late = [value for curve in curves for value in curve[max(1, len(curve) // 4) if len(curve) > 2 else 0 :]]
    finite = [*filter(math.isfinite, [*late, *also])]
    if not finite:
        return None
    low, high = min(finite), max(finite)
    margin = 0.08 * (high - low) or 0.05 * abs(high) or 0.1
    return low - margin, high + margin


def draw_curves(history: Sequence[Mapping[str, float]], best: int | None = None) -> Figure:
    """Plot loss, reconstruction and KL over the epochs, for training and, if there is one, validation.

    The first quarter of the epochs may lie beyond the axis (:func:`late_range`).

    Arguments:
        history: one item per epoch, with keys such as ``train/loss`` and ``val/kl``.
        best: index of the best epoch, which is marked, with its values in validation or else training.
    """
    figure = Figure(figsize=(9, 2.8), dpi=120)
    figure.subplots_adjust(left=0.07, right=0.98, bottom=0.18, top=0.9, wspace=0.28)
    titles = {"loss": "loss = -ELBO", "recon": "reconstruction", "kl": "KL"}
    for axes, (term, title) in zip(figure.subplots(1, 3), titles.items(), strict=True):
        curves = []
        for stage, colour in zip(("train", "val"), COLOURS, strict=False):
            points = [
                (epoch, metrics[f"{stage}/{term}"])
                for epoch, metrics in enumerate(history, 1)
                if f"{stage}/{term}" in metrics
            ]
            if points:
                marker = "." if len(points) < 30 else None
                axes.plot(*zip(*points, strict=True), label=stage, color=colour, marker=marker)
                curves.append([value for _, value in points])
        marked = {} if best is None else history[best]
        value = marked.get(f"val/{term}", marked.get(f"train/{term}"))
        if (limits := late_range(curves, [] if value is None else [value])) is not None:
            axes.set_ylim(limits)
        if best is not None and value is not None:
            axes.axvline(best + 1, color="black", linewidth=0.8, linestyle=":", zorder=1)
            axes.plot(best + 1, value, "*", color="black", label=f"best epoch, {best + 1}", zorder=3)
            title += f"; {value:#.5g} at ★"
        axes.set_title(title, fontsize=9, y=1)  # given its height, matplotlib does not measure all labels to find it
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.ticklabel_format(axis="y", scilimits=SHORT)
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("nats per image")
    figure.axes[0].legend(fontsize=8)
    return figure
