"""Features of several processes are those of one, in the same order."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor

from vae_lightning import VAE
from vae_lightning.evaluation.features import Features, encode_images


def of_processes(
    count: int, batches: list[tuple[Tensor, Tensor]], limit: int | None, monkeypatch: pytest.MonkeyPatch
) -> list[Features]:
    """Return the features that each process gets, from its own rows of the same batches and from the others."""
    sent: dict[int, Any] = {}

    def encode(rank: int) -> Features:
        vae = VAE(3, widths=[8])
        vae._trainer = SimpleNamespace(  # type: ignore[assignment]
            world_size=count, global_rank=rank, datamodule=SimpleNamespace(whole_batches=True)
        )

        def gather(parts: list[Any], own: Any) -> None:
            sent[rank] = own
            parts[:] = [sent.get(place, own) for place in range(count)]

        monkeypatch.setattr(dist, "all_gather_object", gather)
        monkeypatch.setattr(dist, "get_world_size", lambda: count)
        return encode_images(vae, batches, limit)

    for rank in range(count):
        encode(rank)  # to learn what it sends to the others
    return [encode(rank) for rank in range(count)]


@pytest.mark.parametrize("limit", [None, 15, 20])
@pytest.mark.parametrize("count", [2, 3])
def test_the_first_images_are_the_same_whatever_the_number_of_processes(
    count: int, limit: int | None, images: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = [(images[first : first + 10], torch.arange(first, first + 10)) for first in range(0, 40, 10)]
    alone = encode_images(VAE(3, widths=[8]), batches, limit)
    assert alone.labels.tolist() == [*range(limit or 40)]
    for found in of_processes(count, batches, limit, monkeypatch):
        assert found.labels.tolist() == alone.labels.tolist()
        np.testing.assert_allclose(found.mu, alone.mu, rtol=1e-5, atol=1e-6)
