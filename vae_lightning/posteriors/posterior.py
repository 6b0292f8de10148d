"""The base class of posteriors."""

from abc import ABC, abstractmethod
from typing import Self

from torch import Tensor

__all__ = ["Posterior"]


class Posterior(ABC):
    """q(z|x): the distribution of each image's latent variables.

    A subclass is a NamedTuple of tensors ``(..., latent_dim)``, which ``torch.func`` handles without conversion.
    """

    @classmethod
    @abstractmethod
    def of(cls, encoded: Tensor) -> Self:
        """Return the posteriors that the encoder's output, ``(..., 2 * latent_dim)``, parameterises."""

    @property
    @abstractmethod
    def mean(self) -> Tensor:
        """The means, ``(..., latent_dim)``, which the linear probe and the pictures use."""

    @abstractmethod
    def rsample(self, noise: Tensor) -> Tensor:
        """Return latents as a differentiable function of the posterior's parameters.

        Arguments:
            noise: ``(..., latent_dim)`` from N(0, I).
        """

    @abstractmethod
    def log_kernel(self, z: Tensor) -> Tensor:
        """Return log q(z|x), ``(...)``, without the constant that it shares with the prior.

        Arguments:
            z: latents ``(..., latent_dim)``.
        """
