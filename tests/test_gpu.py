"""What only a GPU shows; run on a machine that has one with pytest -m gpu."""

import json
import subprocess
from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import SMALL, TRAIN
from lightning.pytorch import Trainer

from vae_lightning import VAE, MNIST5kDataModule
from vae_lightning.evaluation.log_likelihood import log_likelihood

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


def test_a_stack_gives_what_it_gives_on_the_cpu(tmp_path: Path) -> None:
    tables = []
    for trainer in ("cpu", "gpu"):
        options = ["-m", *SMALL, f"trainer={trainer}", "model.latent_dim=2,5", "hydra/launcher=stacked"]
        subprocess.run([*TRAIN, *options, f"sweep.name={trainer}"], cwd=tmp_path, check=True)
        tables.append(pd.read_csv(tmp_path / f"outputs/sweeps/{trainer}/results.csv")["test/loss"])
    assert tables[1].tolist() == pytest.approx(tables[0].tolist(), rel=1e-4)


def test_pruned_models_leave_a_stack_as_on_the_cpu(tmp_path: Path) -> None:
    tables = []
    for trainer in ("cpu", "gpu"):
        options = ["-m", *SMALL, f"trainer={trainer}", "trainer.max_epochs=4", "hydra/launcher=stacked"]
        grid = ["hydra/sweeper=grid", "hydra/sweeper/pruner=successive_halving", "objective=beta"]
        grid += ["optimizer.lr=1e-5,1e-4,1e-3,3e-3", "model.latent_dim=5,10"]
        subprocess.run([*TRAIN, *options, *grid, f"sweep.name={trainer}"], cwd=tmp_path, check=True)
        tables.append(pd.read_csv(tmp_path / f"outputs/sweeps/{trainer}/results.csv"))
    assert tables[1]["status"].tolist() == tables[0]["status"].tolist()
    assert {"pruned", "complete"} == set(tables[0]["status"])
    assert tables[1]["test/loss"].dropna().tolist() == pytest.approx(tables[0]["test/loss"].dropna().tolist(), rel=1e-4)


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


def test_log_p_is_that_of_the_cpu(images: torch.Tensor) -> None:
    vae = VAE()
    expected = log_likelihood(vae, images, 200)
    found = log_likelihood(vae.cuda(), images, 200, chunk_size=10_000)
    torch.testing.assert_close(found.estimate, expected.estimate, rtol=1e-5, atol=0)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="there are not two GPUs")
def test_two_gpus_give_the_numbers_of_one(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    expected = run(tmp_path / "one", "trainer=gpu")
    found = run(tmp_path / "two", "trainer=ddp", "trainer.devices=2")
    assert found["train/loss"] == pytest.approx(expected["train/loss"], rel=1e-5)
