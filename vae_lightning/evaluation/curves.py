"""Training curves as a plot."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

__all__ = ["draw_curves"]

# Powers of ten outside which an axis has a factor, to keep tick labels short. The margins are fixed, because fitting
# them takes matplotlib as long as all the rest.
SHORT = (-2, 4)


def draw_curves(history: Sequence[Mapping[str, float]], best: int | None = None) -> Figure:
    """Plot loss, reconstruction and KL over the epochs, for training and, if there is one, validation.

    Arguments:
        history: one item per epoch, with keys such as ``train/loss`` and ``val/kl``.
        best: index of the best epoch, which is marked.
    """
    figure = Figure(figsize=(9, 2.8), dpi=120)
    figure.subplots_adjust(left=0.07, right=0.98, bottom=0.18, top=0.9, wspace=0.28)
    titles = {"loss": "loss = -ELBO", "recon": "reconstruction", "kl": "KL"}
    for axes, (term, title) in zip(figure.subplots(1, 3), titles.items(), strict=True):
        for stage in ("train", "val"):
            points = [
                (epoch, metrics[f"{stage}/{term}"])
                for epoch, metrics in enumerate(history, 1)
                if f"{stage}/{term}" in metrics
            ]
            if points:
                axes.plot(*zip(*points, strict=True), label=stage, marker="." if len(points) < 30 else None)
        if best is not None and f"val/{term}" in history[best]:
            axes.plot(best + 1, history[best][f"val/{term}"], "*", color="black", label="best epoch", zorder=3)
        axes.set_title(title, fontsize=9, y=1)  # given its height, matplotlib does not measure all labels to find it
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.ticklabel_format(axis="y", scilimits=SHORT)
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("nats per image")
    figure.axes[0].legend()
    return figure
