"""What only a GPU shows; run on a machine that has one with pytest -m gpu."""

import json
import subprocess
from pathlib import Path

import pytest
import torch
from conftest import SMALL, TRAIN
from lightning.pytorch import Trainer

from vae_lightning import VAE, MNIST5kDataModule

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"),
]


def run(folder: Path, *options: str) -> dict[str, float]:
    command = [*TRAIN, *SMALL, *options, "hydra.run.dir=run"]
    subprocess.run(command, cwd=folder, check=True)
    metrics: dict[str, float] = json.loads((folder / "run/metrics.json").read_text())
    return metrics


def test_the_numbers_are_those_of_the_cpu(tmp_path: Path) -> None:
    for name in ("cpu", "gpu", "kept_there", "half"):
        (tmp_path / name).mkdir()
    expected = run(tmp_path / "cpu")
    for name, options in (("gpu", []), ("kept_there", ["data.device=cuda"])):
        found = run(tmp_path / name, "trainer=gpu", *options)
        assert found["train/loss"] == pytest.approx(expected["train/loss"], rel=1e-4)
        assert found["test/loss"] == pytest.approx(expected["test/loss"], rel=1e-4)
    half = run(tmp_path / "half", "trainer=gpu", "trainer.precision=bf16-mixed")
    assert half["test/loss"] == pytest.approx(expected["test/loss"], rel=0.05)


def test_the_host_does_not_wait_for_the_device_in_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    elbo = VAE.elbo

    def watched(self: VAE, images: torch.Tensor, noise: torch.Tensor | None = None) -> object:
        torch.cuda.set_sync_debug_mode("error")
        try:
            return elbo(self, images, noise)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(VAE, "elbo", watched)
    data = MNIST5kDataModule(block_size=16, val_size=3000, device="cuda")
    Trainer(max_epochs=1, accelerator="gpu", devices=1, logger=False, enable_checkpointing=False).fit(VAE(), data)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="there are not two GPUs")
def test_two_gpus_give_the_numbers_of_one(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    expected = run(tmp_path / "one", "trainer=gpu")
    found = run(tmp_path / "two", "trainer=ddp", "trainer.devices=2")
    assert found["train/loss"] == pytest.approx(expected["train/loss"], rel=1e-5)
