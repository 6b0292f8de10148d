"""The base class of objectives (loss functions)."""

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple, Self

from torch import Tensor

from vae_lightning.objectives.draws import Draws, mean_over_samples

__all__ = ["Objective", "Terms"]


class Terms(NamedTuple):
    """The terms of an objective for each image, in nats, ``(..., B)``: one depends on the latents, the other does not.

    The objective is their sum. They are kept separate because only the first needs a gradient estimator.
    """

    sampled: Tensor
    exact: Tensor

    @classmethod
    def of(cls, draws: Draws, kl: Tensor) -> Self:
        """Return the mean reconstruction term over latents, and the KL, which is sampled unless it is exact.

        Arguments:
            draws: the draws of a batch.
            kl: their KL, weighted, ``(..., B)``.
        """
        recon = mean_over_samples(draws.nll)
        return cls(recon, kl) if draws.exact_kl else cls(recon + kl, kl.new_zeros(()))


class Objective(ABC):
    """The training loss: a function of each image's :class:`Draws`, averaged over the batch.

    A subclass takes plain values and computes its terms in :meth:`__call__`. It keeps no state: anything that changes
    during training is a function of the optimiser step.
    """

    # Number of latents drawn per image.
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
