"""Cosine decay after a linear warm-up."""

import math

from vae_lightning.config.arguments import checked
from vae_lightning.config.errors import InputError
from vae_lightning.schedules.schedule import Schedule

__all__ = ["Cosine"]


class Cosine(Schedule):
    """A linear rise over ``warmup_steps``, then a decay along half a cosine to ``end`` at ``steps``.

    Arguments:
        steps: number of optimiser steps in total; the factor is ``end`` from then on.
        warmup_steps: number of steps of the rise; the factor of the first is 1 / ``warmup_steps``.
        end: the last factor.

    Raises:
        InputError: if an argument breaks its rule (:mod:`vae_lightning.schedules.rules`), or ``warmup_steps`` is not
            less than ``steps``.

    References:
        SGDR: Stochastic Gradient Descent with Warm Restarts, Loshchilov and Hutter, 2017
        (https://arxiv.org/abs/1608.03983), without restarts.
    """

    @checked
    def __init__(self, steps: int, warmup_steps: int = 0, end: float = 0.0) -> None:
        if warmup_steps >= steps:
            raise InputError(f"warmup_steps={warmup_steps}: must be less than steps={steps}")
        self.steps, self.warmup_steps, self.end = steps, warmup_steps, end
        self.total_steps = steps

    def __call__(self, step: int) -> float:
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        done = min(1.0, (step - self.warmup_steps) / (self.steps - self.warmup_steps))
        return self.end + (1 - self.end) * 0.5 * (1 + math.cos(math.pi * done))

    def warms_up(self, step: int) -> bool:
        return step < self.warmup_steps
