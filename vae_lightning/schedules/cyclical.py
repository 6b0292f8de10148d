"""Cyclical annealing."""

from vae_lightning.config.arguments import checked
from vae_lightning.schedules.schedule import Schedule

__all__ = ["Cyclical"]


class Cyclical(Schedule):
    """A linear rise from 0 to 1, then 1 for the rest of the period, in every period.

    Arguments:
        period: number of optimiser steps per period.
        rising: fraction of a period in which the factor rises.

    Raises:
        InputError: if an argument breaks its rule (:mod:`vae_lightning.schedules.rules`).

    References:
        Cyclical Annealing Schedule: A Simple Approach to Mitigating KL Vanishing, Fu et al., 2019
        (https://arxiv.org/abs/1903.10145).
    """

    @checked
    def __init__(self, period: int, rising: float = 0.5) -> None:
        self.period, self.rising = period, rising

    def __call__(self, step: int) -> float:
        return min(1.0, step % self.period / (self.rising * self.period))

    def warms_up(self, step: int) -> bool:
        # Steps at the maximum can be compared from period to period, and no others.
        return self(step) < 1
