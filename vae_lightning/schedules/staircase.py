"""A piecewise constant factor."""

from bisect import bisect_right
from collections.abc import Sequence

from vae_lightning.config.arguments import checked
from vae_lightning.config.errors import InputError
from vae_lightning.schedules.schedule import Schedule

__all__ = ["Staircase"]


class Staircase(Schedule):
    """A factor of 1 at first, and another one from each of the given steps on.

    Arguments:
        at: optimiser steps, in ascending order.
        factors: the factor from each of these steps on.

    Raises:
        InputError: if an argument breaks its rule (:mod:`vae_lightning.schedules.rules`), ``at`` and ``factors`` differ
            in length, or ``at`` does not ascend.
    """

    @checked
    def __init__(self, at: Sequence[int], factors: Sequence[float]) -> None:
        if len(at) != len(factors) or sorted(set(at)) != list(at):
            raise InputError(f"at={[*at]}: must be steps in ascending order, as many as factors={[*factors]}")
        self.at, self.factors = at, (1.0, *factors)

    def __call__(self, step: int) -> float:
        return self.factors[bisect_right(self.at, step)]

    def warms_up(self, step: int) -> bool:
        return max(self.factors[bisect_right(self.at, step) :]) > self(step)
