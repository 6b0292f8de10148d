"""Factors that change in the course of training: of the learning rate, or of the KL's weight."""

import math
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections.abc import Iterable, Sequence

from torch.optim import Optimizer

from vae_lightning.checks import SCHEDULES, InputError, check

__all__ = ["Constant", "Cosine", "Cyclical", "Schedule", "Staircase", "WarmUp", "scale_lr"]


def scale_lr(optimizers: Iterable[Optimizer], factor: float) -> None:
    """Set each optimiser's learning rate to what it was made with, times a factor."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = factor * optimizer.defaults["lr"]


class Schedule(ABC):
    """A factor for each optimiser step, and a function of that step alone: a run that goes on needs no memory of it."""

    @abstractmethod
    def __call__(self, step: int) -> float:
        """The factor of the optimiser step that so many came before."""


class Constant(Schedule):
    """Always 1."""

    def __call__(self, step: int) -> float:
        return 1.0


class WarmUp(Schedule):
    """From ``start`` in a straight line to 1, and 1 from then on.

    Arguments:
        steps: optimiser steps until then.
        start: the first step's factor.

    Raises:
        InputError: if an argument is not what :mod:`vae_lightning.checks` allows.
    """

    def __init__(self, steps: int, start: float = 0.0) -> None:
        check({"steps": steps, "start": start}, SCHEDULES["WarmUp"])
        self.steps, self.start = steps, start

    def __call__(self, step: int) -> float:
        return self.start + (1 - self.start) * min(1.0, step / self.steps)


class Cosine(Schedule):
    """Up in a straight line for ``warmup_steps``, then down along half a cosine, to ``end`` at ``steps``.

    Arguments:
        steps: optimiser steps of the whole; the factor is ``end`` from then on.
        warmup_steps: of the way up, whose first step has 1 / ``warmup_steps``.
        end: the last factor.

    Raises:
        InputError: if an argument is not what :mod:`vae_lightning.checks` allows.

    References:
        SGDR: Stochastic Gradient Descent with Warm Restarts, Loshchilov and Hutter, 2017
        (https://arxiv.org/abs/1608.03983), without restarts.
    """

    def __init__(self, steps: int, warmup_steps: int = 0, end: float = 0.0) -> None:
        check({"steps": steps, "warmup_steps": warmup_steps, "end": end}, SCHEDULES["Cosine"])
        if warmup_steps >= steps:
            raise InputError(f"warmup_steps={warmup_steps}: must be less than steps={steps}")
        self.steps, self.warmup_steps, self.end = steps, warmup_steps, end

    def __call__(self, step: int) -> float:
        if step < self.warmup_steps:
            return (step + 1) / self.warmup_steps
        done = min(1.0, (step - self.warmup_steps) / (self.steps - self.warmup_steps))
        return self.end + (1 - self.end) * 0.5 * (1 + math.cos(math.pi * done))


class Cyclical(Schedule):
    """From 0 to 1 in a straight line, 1 for the rest of the period, and again.

    Arguments:
        period: optimiser steps.
        rising: the part of a period in which the factor rises.

    Raises:
        InputError: if an argument is not what :mod:`vae_lightning.checks` allows.

    References:
        Cyclical Annealing Schedule: A Simple Approach to Mitigating KL Vanishing, Fu et al., 2019
        (https://arxiv.org/abs/1903.10145).
    """

    def __init__(self, period: int, rising: float = 0.5) -> None:
        check({"period": period, "rising": rising}, SCHEDULES["Cyclical"])
        self.period, self.rising = period, rising

    def __call__(self, step: int) -> float:
        return min(1.0, step % self.period / (self.rising * self.period))


class Staircase(Schedule):
    """1, and from each of some steps on another factor.

    Arguments:
        at: optimiser steps, rising.
        factors: the factor from each of them on.

    Raises:
        InputError: if an argument is not what :mod:`vae_lightning.checks` allows, they are not as many, or do not rise.
    """

    def __init__(self, at: Sequence[int], factors: Sequence[float]) -> None:
        check({"at": at, "factors": factors}, SCHEDULES["Staircase"])
        if len(at) != len(factors) or sorted(set(at)) != list(at):
            raise InputError(f"at={[*at]}: must be rising steps, as many as factors={[*factors]}")
        self.at, self.factors = at, (1.0, *factors)

    def __call__(self, step: int) -> float:
        return self.factors[bisect_right(self.at, step)]
