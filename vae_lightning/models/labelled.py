"""Images that carry their label, so that whatever passes images to a model passes its condition too."""

import torch
from torch import Tensor

__all__ = ["images_in", "one_hot_in", "with_labels"]


def with_labels(images: Tensor, labels: Tensor) -> Tensor:
    """Return images with one more row of pixels, which holds the label: ``(..., C, H + 1, W)``.

    Arguments:
        images: ``(..., C, H, W)``.
        labels: ``(...)``, whole numbers up to 256, which half precision represents exactly.
    """
    row = labels.to(images)[..., None, None, None].expand(*images.shape[:-2], 1, images.shape[-1])
    return torch.cat([images, row], -2)


def images_in(labelled: Tensor) -> Tensor:
    """Return the images of :func:`with_labels`, ``(..., C, H, W)``."""
    return labelled[..., :-1, :]


def one_hot_in(labelled: Tensor, classes: int) -> Tensor:
    """Return the labels of :func:`with_labels` as one-hot vectors, ``(..., classes)``."""
    labels = labelled[..., 0, -1, 0, None]
    return (labels == torch.arange(classes, device=labels.device)).to(labelled)
