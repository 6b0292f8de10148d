"""The images that are counted in images per second, and the seconds."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from vae_lightning import VAE
from vae_lightning.callbacks import throughput
from vae_lightning.callbacks.throughput import Throughput
from vae_lightning.models.stack import Stack


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The callback's clock; set ``now`` to move it."""
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(throughput, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    return clock


def speeds(model: Any, batches: list[Any], clock: SimpleNamespace, world_size: int = 1) -> dict[str, float]:
    """Return the logged values of an epoch of two seconds per batch, with ten seconds of validation after it."""
    callback, logged = Throughput(), dict[str, float]()
    trainer: Any = SimpleNamespace(world_size=world_size)
    model.log_dict = lambda values, **_: logged.update(values)
    callback.on_train_epoch_start(trainer, model)
    for index, batch in enumerate(batches):
        clock.now += 2
        callback.on_train_batch_end(trainer, model, None, batch, index)
    clock.now += 10
    callback.on_train_epoch_end(trainer, model)
    return logged


def images(*shape: int) -> Tensor:
    return torch.zeros(*shape, 1, 28, 28)


def test_a_models_images_are_counted_over_the_seconds_of_its_training(clock: SimpleNamespace) -> None:
    blocks = [(images(3, 20), None), (images(1, 10), None)]  # of three steps, and a rest
    assert speeds(VAE(2, widths=[4]), blocks, clock) == {"speed/images_per_second": 70 / 4}


@pytest.mark.parametrize(("whole_batches", "expected"), [(True, 20 / 2), (False, 40 / 2)])
def test_the_images_of_all_processes_count(whole_batches: bool, expected: float, clock: SimpleNamespace) -> None:
    """They share a batch of 20, or have 20 images each."""
    vae = VAE(2, widths=[4])
    data = SimpleNamespace(whole_batches=whole_batches)
    vae._trainer = SimpleNamespace(world_size=2, global_rank=0, datamodule=data)  # type: ignore[assignment]
    assert speeds(vae, [(images(20), None)], clock, 2) == {"speed/images_per_second": expected}


def test_the_images_of_all_models_of_a_stack_count_for_each_that_has_not_diverged(clock: SimpleNamespace) -> None:
    stack = Stack([VAE(2, widths=[4], seed=seed) for seed in range(3)])
    stack.failures[1] = "the loss is nan"
    batches = [([images(5, 20)], None)]  # all models see the same
    expected = {"0/speed/images_per_second": 300 / 2, "2/speed/images_per_second": 300 / 2}
    assert speeds(stack, batches, clock) == expected
