"""The task of vae-train, without training."""

import pytest
from conftest import Compose
from hydra.core.hydra_config import HydraConfig
from omegaconf import open_dict

from vae_lightning.commands import train


@pytest.mark.parametrize("experiment", ["latent_lr", "quickstart"])
def test_an_experiment_that_is_a_sweep_says_so_where_it_runs_once(
    experiment: str, multirun: Compose, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cfg = multirun(f"experiment={experiment}")
    monkeypatch.setattr(train, "train", lambda cfg: {})
    monkeypatch.setattr(HydraConfig.instance(), "cfg", cfg.copy())
    with open_dict(cfg):
        del cfg["hydra"]
    train._task(cfg)
    said = "one run, not a sweep over model.latent_dim, optimizer.lr, which needs -m"
    assert caplog.messages == ([said] if experiment == "latent_lr" else [])
