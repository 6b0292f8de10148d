"""The latent space as a scatter plot."""

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from vae_lightning.evaluation.curves import SHORT
from vae_lightning.palette import COLOURS, MARKERS

__all__ = ["Plane", "draw_latent_space"]

# Labels per column of the legend.
ROWS = 24


def draw_latent_space(mean: Tensor, labels: Tensor | None, what: str = "images", prior: Tensor | None = None) -> Figure:
    """Plot the posterior mean of each image, coloured by its label, over samples from the prior.

    Each label is also written at the median of its points, and beyond ten labels, ten at a time share a marker.

    Two dimensions are plotted as they are, more by their first two principal components, and a single one against the
    label.

    Arguments:
        mean: ``(N, size)``, for two images or more.
        labels: ``(N,)``; None to plot all images in one colour.
        what: description of the images, for the title.
        prior: samples from the prior, ``(M, size)``, drawn in grey; None for none.
    """
    labelled = labels is not None
    labels = torch.zeros(len(mean)) if labels is None else labels.cpu()
    plane = Plane(mean.double().cpu().numpy())
    points = plane.points(mean.double().cpu().numpy(), labels.numpy())
    classes = sorted(set(labels.tolist()))
    columns = -(-len(classes) // ROWS)
    width = 5.4 + 0.6 * columns
    figure = Figure(figsize=(width, 5), dpi=120)
    figure.subplots_adjust(left=0.66 / width, right=5.1 / width, bottom=0.11, top=0.93)
    axes = figure.subplots()
    if prior is not None and plane.dimensions > 1:
        background = plane.points(prior.double().cpu().numpy())
        axes.scatter(background[:, 0], background[:, 1], s=4, color="0.85", zorder=0)
    for place, label in enumerate(classes):
        members = points[(labels == label).numpy()]
        turn, colour = divmod(place, len(COLOURS))
        marker = MARKERS[turn % len(MARKERS)]
        axes.scatter(members[:, 0], members[:, 1], s=8, color=COLOURS[colour], marker=marker, label=str(label))
        if labelled and plane.dimensions > 1:  # otherwise, the axis shows it
            box = {"boxstyle": "circle,pad=0.15", "fc": "white", "ec": COLOURS[colour], "lw": 2}
            # Rounded, because the last bits of a mean depend on the size of the batches.
            x, y = (float(f"{median:.3g}") for median in np.median(members, 0))
            axes.text(x, y, str(label), ha="center", va="center", fontsize=9, weight="bold", bbox=box)
    axes.set_xlabel(plane.names[0])
    axes.set_ylabel(plane.names[1])
    axes.ticklabel_format(scilimits=SHORT)
    axes.set_title(
        f"posterior means of {len(mean)} {what}"
        + (", over samples from the prior (grey)" if prior is not None else ""),
        fontsize=9,
    )
    axes.grid(alpha=0.3)
    if labelled:
        figure.legend(loc="center right", fontsize=8, markerscale=2, ncols=columns, handletextpad=0, columnspacing=0.5)
    return figure


class Plane:
    """The plane on which points are drawn.

    Arguments:
        means: the points, ``(N, size)``.
        principal: whether more than two dimensions are drawn by their principal components, or by the first two.

    Attributes:
        centre: the point at the plane's origin, ``(size,)``.
        axes: the directions of its axes, ``(size, 2)``, or ``(1, 1)`` for a single dimension.
        dimensions: number of dimensions of the points.
        names: names of the plane's axes.
    """

    def __init__(self, means: NDArray[np.float64], principal: bool = True) -> None:
        self.dimensions = means.shape[1]
        self.centre, self.axes = np.zeros(self.dimensions), np.eye(self.dimensions)[:, :2]
        self.names = ("mean, dimension 0", "label" if self.dimensions == 1 else "mean, dimension 1")
        if self.dimensions > 2 and principal:
            self.centre = means.mean(0)
            centred = means - self.centre
            variances, directions = np.linalg.eigh(centred.T @ centred)  # in ascending order
            shares = variances / max(variances.sum(), np.finfo(float).tiny)
            self.axes = directions[:, [-1, -2]]
            first, second = (f"principal component {k}, {shares[-k]:.0%} of the variance" for k in (1, 2))
            self.names = (first, second)

    def points(self, means: NDArray[np.float64], labels: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
        """Return points ``(N, 2)``; a single dimension is plotted against the label."""
        found = (means - self.centre) @ self.axes
        return found if labels is None or self.dimensions > 1 else np.column_stack([found, labels])
