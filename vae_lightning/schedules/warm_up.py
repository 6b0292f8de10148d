"""Linear warm-up."""

from vae_lightning.config.arguments import checked
from vae_lightning.schedules.schedule import Schedule

__all__ = ["WarmUp"]


class WarmUp(Schedule):
    """A linear rise from ``start`` to 1, then 1 from there on.

    Arguments:
        steps: number of optimiser steps of the rise.
        start: factor of the first step.

    Raises:
        InputError: if an argument breaks its rule (:mod:`vae_lightning.schedules.rules`).
    """

    @checked
    def __init__(self, steps: int, start: float = 0.0) -> None:
        self.steps, self.start = steps, start

    def __call__(self, step: int) -> float:
        return self.start + (1 - self.start) * min(1.0, step / self.steps)

    def warms_up(self, step: int) -> bool:
        return step < self.steps
