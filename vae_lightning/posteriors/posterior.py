"""The base class of posteriors."""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor, nn

from vae_lightning.posteriors.distribution import Distribution

__all__ = ["Posterior"]


class Posterior(nn.Module, ABC):
    """A family of distributions q(z|x), and the map from the encoder's output to its parameters.

    A subclass takes ``latent_dim`` and plain values, and may have weights of its own.

    Arguments:
        latent_dim: number of latent variables.

    Attributes:
        step: number of optimiser steps that led to the weights, for families that change during training.
    """

    # The set of values of the latents; a prior must have the same.
    support: str

    # Whether the latent variables of an image are independent of each other: KL and log_prob are then by dimension, and
    # a stack can hold models with other latent_dims.
    factorised: ClassVar[bool] = False

    # Whether a sample is a differentiable function of the parameters; otherwise an estimator must find another way.
    differentiable: ClassVar[bool] = True

    # Number of values of a discrete latent variable; 0: the variables are not discrete.
    values: int = 0

    # Whether the family and its distributions accept any number of leading batch dimensions, those of its own weights
    # included: a stack then evaluates all models at once. Each class sets this itself; it is not inherited.
    any_batch: ClassVar[bool] = False

    # For each number that represents a latent: numbers from the encoder, and columns of noise. The encoder's output is
    # `parts` blocks of `size` numbers, the noise `noise_parts` such blocks.
    parts: ClassVar[int] = 2
    noise_parts: ClassVar[int] = 1

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.latent_dim = latent_dim
        self.step = 0

    @property
    def size(self) -> int:
        """The number of numbers that represent an image's latents."""
        return self.latent_dim

    @property
    def outputs(self) -> int:
        """The number of numbers that the encoder returns for an image."""
        return self.parts * self.size

    @property
    def noise_size(self) -> int:
        """The number of columns of noise that an image's latents take."""
        return self.noise_parts * self.size

    @property
    def layer_sizes(self) -> list[int]:
        """The number of numbers that represent the latents of each stochastic layer; the decoder sees the first one."""
        return [self.size]

    @property
    def layer_family(self) -> str:
        """The name of the family of each layer, by which estimators know it."""
        return type(self).__name__

    @abstractmethod
    def forward(self, encoded: Tensor) -> Distribution:
        """Return the distributions that the encoder's output, ``(..., B, outputs)``, parameterises."""

    @abstractmethod
    def standard(self, like: Tensor) -> Distribution:
        """Return the standard distribution on the latents' support: the prior that has no parameters.

        Arguments:
            like: a tensor with the dtype and the device of the model.

        Returns:
            A distribution with tensors ``(1, ...)``, which broadcast with those of any images.
        """

    def moved(self, mean: Tensor, dimension: int, values: Tensor) -> Tensor:
        """Return latents with one latent variable set to other values, for traversals.

        Arguments:
            mean: ``(size,)``.
            dimension: index of the latent variable.
            values: ``(V,)``: quantiles of the prior; a discrete variable takes each of its values instead.

        Returns:
            ``(V, size)``, on the support.
        """
        if not self.values:
            z = mean.repeat(len(values), 1)
            z[:, dimension] = values
            return z
        by_variable = mean.view(self.latent_dim, -1).repeat(self.values, 1, 1)
        count = by_variable.shape[-1]
        states = torch.eye(count) if count > 1 else torch.arange(self.values)[:, None]
        by_variable[:, dimension] = states.to(mean)
        return by_variable.flatten(1)
