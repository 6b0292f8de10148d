"""The latent space as a scatter plot."""

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from vae_lightning.evaluation.curves import SHORT

__all__ = ["draw_latent_space"]

# Labels per column of the legend.
ROWS = 24


def draw_latent_space(mu: Tensor, labels: Tensor | None, what: str = "images") -> Figure:
    """Plot the mu of each image, coloured by its label.

    Two dimensions are plotted as they are, more by their first two principal components, and a single one against the
    label.

    Arguments:
        mu: ``(N, latent_dim)``, for two images or more.
        labels: ``(N,)``; None to plot all images in one colour.
        what: description of the images, for the title.
    """
    labelled = labels is not None
    labels = torch.zeros(len(mu)) if labels is None else labels.cpu()
    points, names = _in_plane(mu.double().cpu().numpy(), labels.numpy())
    classes = sorted(set(labels.tolist()))
    colours = colormaps["tab10" if len(classes) <= 10 else "turbo"].resampled(max(10, len(classes)))
    columns = -(-len(classes) // ROWS)
    width = 5.4 + 0.6 * columns
    figure = Figure(figsize=(width, 5), dpi=120)
    figure.subplots_adjust(left=0.66 / width, right=5.1 / width, bottom=0.11, top=0.93)
    axes = figure.subplots()
    for place, label in enumerate(classes):
        members = points[(labels == label).numpy()]
        axes.scatter(members[:, 0], members[:, 1], s=8, color=colours(place), label=str(label))
    axes.set_xlabel(names[0])
    axes.set_ylabel(names[1])
    axes.ticklabel_format(scilimits=SHORT)
    axes.set_title(f"mu of {len(mu)} {what}", fontsize=9)
    axes.grid(alpha=0.3)
    if labelled:
        figure.legend(loc="center right", fontsize=8, markerscale=2, ncols=columns, handletextpad=0, columnspacing=0.5)
    return figure


def _in_plane(mu: NDArray[np.float64], labels: NDArray[np.int64]) -> tuple[NDArray[np.float64], tuple[str, str]]:
    """Return points ``(N, 2)``, and the names of their axes."""
    if mu.shape[1] == 1:
        return np.column_stack([mu, labels]), ("mu, dimension 0", "label")
    if mu.shape[1] == 2:
        return mu, ("mu, dimension 0", "mu, dimension 1")
    centred = mu - mu.mean(0)
    variances, directions = np.linalg.eigh(centred.T @ centred)  # in ascending order
    shares = variances / max(variances.sum(), np.finfo(float).tiny)
    first, second = (f"principal component {k}, {shares[-k]:.0%} of the variance" for k in (1, 2))
    return centred @ directions[:, [-1, -2]], (first, second)
