"""What an objective is."""

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

from torch import Tensor

from vae_lightning.objectives.draws import Draws

__all__ = ["Objective", "Terms"]


class Terms(NamedTuple):
    """An objective for each image, in nats, ``(..., B)``: the sum of what depends on the latents and what does not.

    They are apart since only the first is in need of a gradient estimator.
    """

    sampled: Tensor
    exact: Tensor


class Objective(ABC):
    """What training makes small: a function of each image's :class:`Draws`, averaged over the batch.

    A subclass takes plain values and says in :meth:`__call__` what it makes of the draws. It keeps no state: what
    changes in the course of training is a function of the optimiser step.
    """

    # How many latents are drawn for an image.
    samples: int = 1

    # Numbers among the arguments in which the models of a stack may differ; there they are tensors ``(K, 1)``.
    FREE: ClassVar[tuple[str, ...]] = ()

    # Whether its gradient goes through the latents in a way of its own.
    reparameterized: bool = False

    @abstractmethod
    def __call__(self, draws: Draws, step: int) -> Terms:
        """The objective of each image.

        Arguments:
            draws: of a batch, or of a process's part of it.
            step: how many optimiser steps came before.
        """
