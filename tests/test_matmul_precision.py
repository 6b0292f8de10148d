"""The precision of matrix products: the fastest that is as exact as single precision, the same for all processes."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from vae_lightning import matmul_precision as module
from vae_lightning.matmul_precision import PRECISIONS, Measured, Product, fastest, matmul_precision, measured

SHAPES = [Product(1, 64, 784, 128), Product(1, 64, 20, 128)]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    before = torch.get_float32_matmul_precision()
    yield tmp_path / "vae-lightning/matmul_precision.json"
    assert torch.get_float32_matmul_precision() == before


def pretend(monkeypatch: pytest.MonkeyPatch, *others: Measured) -> list[object]:
    """Let the products seem to have been measured so; return a list that grows with each measurement."""
    calls: list[object] = []

    def measured(products: object) -> list[Measured]:
        calls.append(products)
        return [Measured("highest", 1.0, 2e-7), *others]

    monkeypatch.setattr(module, "measured", measured)
    return calls


def test_errors_are_relative_to_double_precision() -> None:
    found = measured(SHAPES)
    assert [each.precision for each in found] == [*PRECISIONS]
    assert 1e-8 < found[0].error < 1e-6
    with torch.autocast("cpu", torch.bfloat16):  # products of eight bits
        assert 1e-3 < measured(SHAPES)[0].error < 1e-2


def test_what_is_fast_but_not_exact_is_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, Measured("high", 1.5, 9e-7), Measured("medium", 8.0, 2e-3))
    assert fastest(SHAPES) == "high"


def test_a_small_gain_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, Measured("medium", 1.2, 3e-7))
    assert fastest(SHAPES) == "highest"


def test_products_are_measured_once(
    monkeypatch: pytest.MonkeyPatch, cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    calls = pretend(monkeypatch, Measured("medium", 2.0, 3e-7))
    with caplog.at_level(logging.INFO):
        assert fastest(SHAPES) == fastest(SHAPES[::-1]) == "medium"
    assert caplog.messages == [
        "matrix products of medium precision: 2.0 times as fast as highest, with a relative error of 3.0e-07"
    ]
    assert len(calls) == 1
    fastest([Product(12, 64, 784, 128)])
    assert len(calls) == len(json.loads(cache.read_text())) == 2
    (key, _) = json.loads(cache.read_text())
    assert torch.__version__ in key
    assert f"{torch.get_num_threads()} threads" in key


@pytest.mark.parametrize("content", ["{", "[]", "1"])
def test_a_damaged_cache_is_reported(content: str, cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache.parent.mkdir()
    cache.write_text(content)
    with caplog.at_level(logging.WARNING):
        found = fastest(SHAPES)
    assert found == "highest"
    assert str(cache) in caplog.text


def test_without_a_cache_the_choice_is_always_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    calls = pretend(monkeypatch, Measured("medium", 2.0, 3e-7))
    assert fastest(SHAPES) == "highest"
    assert not calls
    assert "the precision of matrix products is highest, because" in caplog.text


def test_the_precision_is_restored_even_after_an_error() -> None:
    before = torch.get_float32_matmul_precision()

    def fail() -> None:
        with matmul_precision("medium"):
            raise ZeroDivisionError(torch.get_float32_matmul_precision())

    with pytest.raises(ZeroDivisionError, match="medium"):
        fail()
    assert torch.get_float32_matmul_precision() == before


def test_a_model_without_products_needs_no_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = pretend(monkeypatch)
    assert fastest([]) == "highest"
    assert not calls
