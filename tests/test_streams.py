import pytest
import torch

from vae_lightning.streams import NormalStream, generator, seeded, stream_seed


@pytest.mark.parametrize("draws", [[1000], [1, 999], [64] * 15 + [40], [3, 500, 7, 490]])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rows_do_not_depend_on_how_many_are_drawn_at_a_time(draws: list[int], dtype: torch.dtype) -> None:
    def stream() -> NormalStream:
        return NormalStream(generator(0, "noise", 1), 3, dtype=dtype)

    pieces = stream()
    assert torch.equal(torch.cat([pieces.draw(count) for count in draws]), stream().draw(1000))


def test_rows_are_standard_normal() -> None:
    rows = NormalStream(generator(0, "noise"), 20, dtype=torch.float64).draw(50_000)
    # A million numbers: the mean's standard error is 0.001, the variance's 0.0014.
    assert abs(rows.mean()) < 0.005
    assert abs(rows.var() - 1) < 0.007


def test_seeds_names_and_indices_each_give_a_stream_of_their_own() -> None:
    seeds = {stream_seed(seed, name, epoch) for seed in range(5) for name in ("noise", "order") for epoch in range(5)}
    assert len(seeds) == 50
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_streams_neither_use_nor_change_the_global_generator() -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    with seeded(0, "initialisation"):
        inside = torch.rand(3)
    NormalStream(generator(0, "noise"), 2).draw(5)
    assert torch.equal(torch.rand(3), expected)
    torch.manual_seed(2)
    with seeded(0, "initialisation"):
        assert torch.equal(torch.rand(3), inside)
