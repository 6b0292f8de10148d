"""The base class of objectives (loss functions)."""

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple, Self

from torch import Tensor

from vae_lightning.objectives.draws import Draws

__all__ = ["Objective", "Terms"]


class Terms(NamedTuple):
    """The terms of an objective for each image, in nats: one depends on the latents, the other does not.

    The objective is the mean of the first plus the second. They are kept separate because only the first needs a
    gradient estimator.

    Attributes:
        sampled: a value for each group of :attr:`Objective.samples` latents, ``(S / samples, ..., B)``.
        exact: ``(..., B)``, or a number.
    """

    sampled: Tensor
    exact: Tensor

    @classmethod
    def of(cls, draws: Draws, kl: Tensor) -> Self:
        """Return the reconstruction term of each latent, and the KL, which is sampled unless it is exact.

        Arguments:
            draws: the draws of a batch.
            kl: their KL, weighted, in the shape of ``draws.kl.sum(-1)``.
        """
        return cls(draws.nll, kl) if draws.exact_kl else cls(draws.nll + kl, kl.new_zeros(()))

    def total(self, draws: Draws) -> Tensor:
        """Return the objective of each image, ``(..., B)``: the mean over the latents of its draws, and the rest."""
        return draws.mean(self.sampled) + self.exact


class Objective(ABC):
    """The training loss: a function of each image's :class:`Draws`, averaged over the batch.

    A subclass takes plain values and computes its terms in :meth:`__call__`. It keeps no state: anything that changes
    during training is a function of the optimiser step.
    """

    # Number of latents of an image that a value of the objective takes.
    samples: int = 1

    # Numeric arguments in which the models of a stack may differ; in a stack they are tensors ``(K, 1)``.
    FREE: ClassVar[tuple[str, ...]] = ()

    # Whether the objective needs a KL of each latent variable in closed form.
    kl_by_dimension: ClassVar[bool] = False

    # Whether the objective defines its own gradient through the latents.
    reparameterized: bool = False

    @abstractmethod
    def __call__(self, draws: Draws, step: int) -> Terms:
        """Compute the objective of each image.

        Arguments:
            draws: the draws of a batch, or of one process's part of it.
            step: number of optimiser steps before this one.
        """
