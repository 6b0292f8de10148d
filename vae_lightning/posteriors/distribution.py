"""The base class of distributions of latents."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

__all__ = ["Distribution"]


class Distribution(ABC):
    """A distribution of the latents of each image: what an encoder, or a prior, parameterises.

    A subclass is a NamedTuple of tensors, which ``torch.func`` handles without conversion. Parameters have the batch
    dimensions of the images, or broadcast with them: ``(..., B, latent_dim)``, ``(..., 1, latent_dim)``. Weights of a
    network are ``(..., in, out)``, so that ``torch.matmul`` broadcasts them. Leading dimensions are those of a stack.

    Samples are functions of noise from outside, so that they can be reproduced, and differentiable in the parameters.
    """

    # Whether log_prob is a formula: otherwise each value takes a numerical search, or one step per dimension.
    in_closed_form: ClassVar[bool] = True

    @property
    @abstractmethod
    def noise_size(self) -> int:
        """The number of columns of noise that :meth:`rsample` takes."""

    @property
    @abstractmethod
    def mean(self) -> Tensor:
        """The representative of the distribution, ``(..., B, size)``, which the linear probe and the pictures use."""

    @abstractmethod
    def rsample(self, noise: Tensor) -> Tensor:
        """Return latents ``(..., B, size)`` as a differentiable function of the parameters.

        Arguments:
            noise: ``(..., B, noise_size)`` from N(0, I).
        """

    @abstractmethod
    def log_prob(self, z: Tensor) -> Tensor:
        """Return the logarithm of the density (or probability) of latents, in nats.

        Arguments:
            z: latents ``(..., B, size)``.

        Returns:
            ``(..., B, latent_dim)``, one term for each latent variable, if they are independent of each other; otherwise
            ``(..., B, 1)``.
        """

    def rsample_and_log_prob(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return latents and the logarithm of their density, as :meth:`rsample` and :meth:`log_prob` do."""
        z = self.rsample(noise)
        return z, self.log_prob(z)

    def kl(self, other: "Distribution") -> Tensor | None:
        """Return the KL from another distribution, in nats, in the shape of :meth:`log_prob`.

        Returns:
            None if it is not known in closed form.
        """
        return None

    def log_prob_of_each(self, z: Tensor) -> Tensor:
        """Return the log-density of each of M latents under each of B distributions, ``(M, B)``.

        Arguments:
            z: latents ``(M, size)``.
        """
        return self.log_prob(z[:, None]).sum(-1)

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        """Return the distribution with a function applied to each tensor."""
        tensors: Any = self
        return type(self)(*map(function, tensors))

    def detach(self) -> Self:
        """Return the distribution without the gradients of its parameters."""
        return self.map(torch.Tensor.detach)

    def named(self) -> dict[str, Tensor]:
        """Return the mean and the parameters of each image by name, for export."""
        fields: Any = self
        return {"mean": self.mean, **fields._asdict()}
