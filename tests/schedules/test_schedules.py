"""Schedules, step by step."""

from collections.abc import Sequence

import pytest
import torch

from vae_lightning import InputError
from vae_lightning.schedules.constant import Constant
from vae_lightning.schedules.cosine import Cosine
from vae_lightning.schedules.cyclical import Cyclical
from vae_lightning.schedules.learning_rate import ScheduledLR
from vae_lightning.schedules.schedule import Schedule
from vae_lightning.schedules.staircase import Staircase
from vae_lightning.schedules.warm_up import WarmUp


@pytest.mark.parametrize(
    ("schedule", "factors"),
    [
        (Constant(), {0: 1, 10**6: 1}),
        (WarmUp(steps=10), {0: 0, 5: 0.5, 10: 1, 99: 1}),
        (WarmUp(steps=10, start=0.5), {0: 0.5, 5: 0.75, 10: 1}),
        (Cosine(steps=100), {0: 1, 50: 0.5, 100: 0, 101: 0}),
        (Cosine(steps=110, warmup_steps=10, end=0.2), {0: 0.1, 9: 1, 10: 1, 60: 0.6, 110: 0.2}),
        (Cyclical(period=10, rising=0.5), {0: 0, 1: 0.2, 5: 1, 9: 1, 10: 0, 11: 0.2}),
        (Staircase(at=[10, 20], factors=[0.5, 0.1]), {0: 1, 9: 1, 10: 0.5, 19: 0.5, 20: 0.1}),
    ],
)
def test_factors(schedule: Schedule, factors: dict[int, float]) -> None:
    assert {step: schedule(step) for step in factors} == pytest.approx(factors)


@pytest.mark.parametrize(
    ("schedule", "steps"),
    [
        (Constant(), []),
        (WarmUp(steps=4), range(4)),
        (Cosine(steps=20), []),
        (Cosine(steps=20, warmup_steps=3), range(3)),
        (Cyclical(period=10, rising=0.3), [0, 1, 2, 10, 11, 12, 20, 21, 22]),
        (Staircase(at=[10, 20], factors=[0.5, 0.1]), []),
        (Staircase(at=[4, 6, 9], factors=[0.5, 2, 1]), range(6)),
    ],
)
def test_steps_of_a_warm_up(schedule: Schedule, steps: Sequence[int]) -> None:
    assert [step for step in range(30) if schedule.warms_up(step)] == [*steps]


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match=r"^warmup_steps=10: must be less than steps=10"):
        Cosine(steps=10, warmup_steps=10)
    with pytest.raises(InputError, match=r"^at=\[5, 5\]: must be steps in ascending order, as many as factors"):
        Staircase(at=[5, 5], factors=[1, 2])
    with pytest.raises(InputError, match=r"^rising=0: must be a finite number above 0"):
        Cyclical(period=10, rising=0)


def test_the_learning_rate_of_each_step_is_the_initial_one_times_the_factor() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    scheduler = ScheduledLR(optimizer, WarmUp(steps=10))
    rates = []
    for _ in range(3):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates == pytest.approx([0, 0.05, 0.1])
    scheduler.load_state_dict({"last_epoch": 5})
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.25)
