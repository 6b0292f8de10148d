"""Stratified splits."""

import torch
from torch import Tensor

from vae_lightning.data.images import LabelledImages

__all__ = ["positions_apart", "set_apart", "stratified_order"]


def set_apart(data: LabelledImages, count: int, generator: torch.Generator) -> tuple[LabelledImages, LabelledImages]:
    """Return ``count`` images, stratified by label, and the remaining images, both in their original order."""
    chosen, rest = map(data.subset, positions_apart(data, count, generator))
    return chosen, rest


def positions_apart(data: LabelledImages, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return the positions of ``count`` images, stratified by label, and of the remaining images, both ascending.

    Images without labels count as images of one label.
    """
    order = stratified_order(data.labels if data.is_labelled else torch.zeros(len(data.labels)), generator)
    return order[:count].sort().values, order[count:].sort().values


def stratified_order(labels: Tensor, generator: torch.Generator) -> Tensor:
    """Return a random order in which every prefix holds each label in proportion to its frequency, within one image.

    Arguments:
        labels: ``(N,)``, whole numbers.
        generator: random generator of the order.

    Returns:
        A permutation of the positions, ``(N,)``.
    """
    shuffled = torch.randperm(len(labels), generator=generator)
    place = torch.empty(len(labels), dtype=torch.float64)
    for label in labels.unique():
        members = shuffled[labels[shuffled] == label]
        # The members of a label are evenly spaced in (0, 1): the k-th of n at (k + 1/2) / n.
        place[members] = (torch.arange(len(members), dtype=torch.float64) + 0.5) / len(members)
    return shuffled[place[shuffled].argsort(stable=True)]
