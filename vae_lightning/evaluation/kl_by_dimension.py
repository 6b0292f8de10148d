"""The KL by dimension as a plot."""

from matplotlib.figure import Figure
from torch import Tensor

from vae_lightning.evaluation.curves import SHORT

__all__ = ["draw_kl"]


def draw_kl(kl: Tensor, what: str = "images") -> Figure:
    """Plot the KL of each latent dimension, the largest first.

    Arguments:
        kl: KL in nats, ``(latent_dim,)``, averaged over images.
        what: description of these images, for the title.
    """
    order = kl.argsort(descending=True, stable=True)
    figure = Figure(figsize=(7, 2.8), dpi=120)
    figure.subplots_adjust(left=0.09, right=0.99, bottom=0.18, top=0.9)
    axes = figure.subplots()
    axes.bar(range(len(kl)), kl[order].tolist())
    axes.set_xlim(-0.6, max(len(kl), 8) - 0.4)  # fewer than 8 bars are as narrow as 8
    axes.set_ylim(0, max(1.05 * float(kl.max()), 0.01))
    if len(kl) <= 32:
        axes.set_xticks(range(len(kl)), order.tolist(), fontsize=8)
        axes.set_xlabel("latent dimension")
    else:
        axes.set_xticks([])
        axes.set_xlabel(f"the {len(kl)} latent dimensions, the largest KL first")
    axes.set_ylabel("nats")
    axes.ticklabel_format(axis="y", scilimits=SHORT)
    axes.set_title(f"KL by dimension, mean over {what}; {float(kl.sum()):.2f} nats in total", fontsize=9, y=1)
    axes.grid(alpha=0.3, axis="y")
    return figure
