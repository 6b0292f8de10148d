"""The noise of several processes: rows of one stream for shared batches, a stream each for data of their own."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from vae_lightning import VAE
from vae_lightning.streams import NormalStream, generator

Noise = Callable[..., Tensor]


@pytest.fixture
def noise(monkeypatch: pytest.MonkeyPatch) -> Noise:
    """``noise(rank, whole_batches, stage)``, the first rows that a process of two has in its second epoch."""

    def first_rows(rank: int, whole_batches: bool, stage: str) -> Tensor:
        vae = VAE(2, widths=[4], seed=5)
        data = SimpleNamespace(whole_batches=True) if whole_batches else None
        vae._trainer = SimpleNamespace(world_size=2, global_rank=rank, datamodule=data, current_epoch=1)  # type: ignore[assignment]
        if stage == "train":
            vae.on_train_epoch_start()
        else:
            vae.on_validation_epoch_start()
        rows: Tensor = (vae._train_noise if stage == "train" else vae._eval_noise).draw(6)
        return rows

    return first_rows


@pytest.mark.parametrize(("stage", "stream"), [("train", ("noise", 1)), ("val", ("evaluation",))])
def test_each_process_draws_from_a_stream_of_its_own_for_data_of_its_own(
    stage: str, stream: tuple[str, int] | tuple[str], noise: Noise
) -> None:
    for rank in range(2):
        name, *epoch = stream
        expected = NormalStream(generator(5, name, *epoch, rank), 2).draw(6)
        assert torch.equal(noise(rank, False, stage), expected)
    assert not torch.equal(noise(0, False, stage), noise(1, False, stage))


@pytest.mark.parametrize(("stage", "stream"), [("train", ("noise", 1)), ("val", ("evaluation",))])
def test_processes_that_share_batches_share_the_stream_of_one_device(
    stage: str, stream: tuple[str, int] | tuple[str], noise: Noise
) -> None:
    name, *epoch = stream
    expected = NormalStream(generator(5, name, *epoch), 2).draw(6)
    for rank in range(2):
        assert torch.equal(noise(rank, True, stage), expected)
