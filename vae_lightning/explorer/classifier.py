"""What the linear probe says of single images."""

from typing import NamedTuple

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor

from vae_lightning.config.errors import InputError
from vae_lightning.evaluation.features import encode_images
from vae_lightning.evaluation.logistic_regression import logistic_regression
from vae_lightning.models.vae import VAE

__all__ = ["Classifier", "fit_classifier"]

# Training images of the fit, so that it takes a second: the accuracy is within a percent of that of all.
IMAGES = 10_000


class Classifier(NamedTuple):
    """A linear probe.

    Attributes:
        weight: ``(L, size)``.
        intercept: ``(L,)``.
        classes: the labels, ``(L,)``.
        images: number of images that it was fitted to.
    """

    weight: Tensor
    intercept: Tensor
    classes: Tensor
    images: int

    def probabilities(self, mean: Tensor) -> Tensor:
        """Return the probabilities of the classes, ``(..., L)``, given posterior means ``(..., size)``."""
        return (mean.to(self.weight) @ self.weight.T + self.intercept).softmax(-1)

    def accuracy(self, mean: Tensor, labels: Tensor) -> float:
        """Return the share of posterior means ``(N, size)`` that the probe assigns to their labels ``(N,)``."""
        predicted = self.classes[self.probabilities(mean).argmax(-1)]
        return float((predicted == labels).double().mean())


def fit_classifier(vae: VAE, data: LightningDataModule) -> Classifier:
    """Fit a probe, with C = 1, to the means of up to 10,000 training images; see :mod:`vae_lightning.evaluation.probe`.

    Arguments:
        vae: the model.
        data: the run's data, after ``prepare_data``.

    Raises:
        InputError: if the training images have no labels, or a single one.
    """
    data.setup("fit")
    found = encode_images(vae, data.train_dataloader(), IMAGES)
    if len(np.unique(found.labels)) < 2:
        raise InputError("the probe needs training images with at least two different labels")
    fit = logistic_regression(torch.from_numpy(found.mu)[None], torch.from_numpy(found.labels)[None])
    return Classifier(fit.weight[0], fit.intercept[0], fit.classes, len(found.labels))
