"""The KL by dimension as a plot, with the variance that decides which dimensions are in use."""

from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import NullLocator
from torch import Tensor

from vae_lightning.evaluation.curves import SHORT
from vae_lightning.palette import COLOURS
from vae_lightning.posteriors.statistics import ACTIVE

__all__ = ["draw_kl"]


def draw_kl(kl: Tensor, variances: Tensor, what: str = "images") -> Figure:
    """Plot the KL of each latent dimension, the largest first, above the variance of its posterior mean.

    A dimension is an active unit if this variance is above a threshold, which is drawn
    (:func:`vae_lightning.posteriors.statistics.active_units`).

    Arguments:
        kl: KL in nats, ``(latent_dim,)``, averaged over images.
        variances: variance of the posterior mean over images, ``(latent_dim,)``.
        what: description of these images, for the title.
    """
    order = kl.argsort(descending=True, stable=True)
    active = (variances > ACTIVE)[order].tolist()
    colours = [COLOURS[0 if each else 1] for each in active]
    figure = Figure(figsize=(7, 4.2), dpi=120)
    figure.subplots_adjust(left=0.1, right=0.99, bottom=0.12, top=0.93, hspace=0.12)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    above.bar(range(len(kl)), kl[order].tolist(), color=colours)
    above.set_xlim(-0.6, max(len(kl), 8) - 0.4)  # fewer than 8 bars are as narrow as 8
    above.set_ylim(0, max(1.25 * float(kl.max()), 0.01))  # with room for the legend
    above.set_ylabel("KL, nats")
    above.ticklabel_format(axis="y", scilimits=SHORT)
    above.set_title(f"KL by dimension, mean over {what}; {float(kl.sum()):.2f} nats in total", fontsize=9, y=1)
    count = sum(active)
    texts = [f"{count} active: variance of the mean above {ACTIVE:g} (dashed)", f"{len(active) - count} inactive"]
    handles = [Patch(color=colour, label=text) for colour, text in zip(COLOURS, texts, strict=False)]
    above.legend(handles=handles, fontsize=8, loc="upper right")
    shown = variances[order].clamp_min(ACTIVE / 100)  # a collapsed dimension has a short bar rather than none
    below.bar(range(len(kl)), shown.tolist(), color=colours)
    below.axhline(ACTIVE, color="black", linewidth=1, linestyle="--")
    below.set_yscale("log")
    below.set_ylim(ACTIVE / 200, 3 * max(1, float(shown.max())))
    below.yaxis.set_minor_locator(NullLocator())  # minor ticks take as long as the bars
    below.set_ylabel("variance")
    if len(kl) <= 32:
        below.set_xticks(range(len(kl)), order.tolist(), fontsize=8)
        below.set_xlabel("latent dimension")
    else:
        below.set_xticks([])
        below.set_xlabel(f"the {len(kl)} latent dimensions, the largest KL first")
    for axes in (above, below):
        axes.grid(alpha=0.3, axis="y")
        axes.set_axisbelow(True)
    return figure
