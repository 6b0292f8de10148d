"""The base class of distributions of latents."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

__all__ = ["Distribution", "log_ratio"]


class Distribution(ABC):
    """A distribution of the latents of each image: what an encoder, or a prior, parameterises.

    A subclass is a NamedTuple of tensors, which ``torch.func`` handles without conversion. Parameters have the batch
    dimensions of the images, or broadcast with them: ``(..., B, latent_dim)``, ``(..., 1, latent_dim)``. Weights of a
    network are ``(..., in, out)``, so that ``torch.matmul`` broadcasts them. Leading dimensions are those of a stack.

    Samples are functions of noise from outside, so that they can be reproduced, and differentiable in the parameters.
    """

    # The number of dimensions of each tensor after that of the images; None: one each.
    event_dims: ClassVar[tuple[int, ...] | None] = None

    # The names of the tensors that are the same for all images: constants, and weights of networks.
    shared: ClassVar[tuple[str, ...]] = ()

    # Whether log_prob is a formula: otherwise each value takes a numerical search, or one step per dimension.
    in_closed_form: ClassVar[bool] = True

    @property
    def noise_size(self) -> int:
        """The number of columns of noise that :meth:`rsample` takes: one for each number of the first tensor."""
        tensors: Any = self
        size: int = tensors[0].shape[-1]
        return size

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
            ``(..., B, latent_dim)``, one term for each latent variable, if they are independent of each other;
            otherwise ``(..., B, 1)``.
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

    def quantiles(self, levels: Tensor, noise: Tensor) -> Tensor:
        """Return the quantiles of each number that represents the latents, ``(V, size)``, for pictures.

        Arguments:
            levels: ``(V,)``, between 0 and 1.
            noise: ``(N, noise_size)`` from N(0, I); without a formula, the quantiles are those of N samples.
        """
        return self.rsample(noise).quantile(levels.to(noise), dim=0)

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        """Return the distribution with a function applied to each tensor."""
        tensors: Any = self
        return type(self)(*map(function, tensors))

    def as_components(self, extra: int = 0) -> Self:
        """Return the distributions of B images as the components of a mixture, the same for all images.

        Each tensor gets a dimension of size 1 in front of that of the images, ``(..., 1, B, n)``.

        Arguments:
            extra: number of dimensions after that of the images, besides :attr:`event_dims`.
        """
        tensors: Any = self
        dims = self.event_dims or (1,) * len(tensors)
        return type(self)(*(tensor.unsqueeze(-2 - dim - extra) for tensor, dim in zip(tensors, dims, strict=True)))

    def detach(self) -> Self:
        """Return the distribution without the gradients of its parameters."""
        return self.map(torch.Tensor.detach)

    @classmethod
    def concatenated(cls, parts: Sequence[Self]) -> Self:
        """Return the distributions of all images of several parts."""
        fields: Any = cls
        dims = cls.event_dims or (1,) * len(fields._fields)
        columns: Any = zip(*parts, strict=True)
        return cls(
            *(
                column[0] if name in cls.shared else torch.cat(column, -1 - dim)
                for name, dim, column in zip(fields._fields, dims, columns, strict=True)
            )
        )

    def named(self) -> dict[str, Tensor]:
        """Return the mean and the parameters of each image by name, for export."""
        fields: Any = self
        own = {name: value for name, value in fields._asdict().items() if name not in self.shared}
        return {"mean": self.mean, **own}


def log_ratio(log_posterior: Tensor, log_prior: Tensor) -> Tensor:
    """Return log q(z|x) - log p(z), by dimension if both are; the mean over samples is the KL.

    Arguments:
        log_posterior: as :meth:`Distribution.log_prob` returns it.
        log_prior: likewise.
    """
    if log_posterior.shape[-1] != log_prior.shape[-1]:
        log_posterior, log_prior = (log_prob.sum(-1, keepdim=True) for log_prob in (log_posterior, log_prior))
    return log_posterior - log_prior
