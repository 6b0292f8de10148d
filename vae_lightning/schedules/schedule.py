"""The base class of schedules."""

from abc import ABC, abstractmethod

__all__ = ["Schedule"]


class Schedule(ABC):
    """A factor for each optimiser step, a function of that step alone: a resumed run needs no state for it."""

    # The number of optimiser steps that the schedule is made for; None if it is made for any.
    total_steps: int | None = None

    @abstractmethod
    def __call__(self, step: int) -> float:
        """Return the factor of an optimiser step, counted from 0."""

    def warms_up(self, step: int) -> bool:
        """Return whether a step belongs to a warm-up: the losses of later steps cannot be compared with its own.

        A schedule without a warm-up, or with a decay alone, need not define it.
        """
        return False
