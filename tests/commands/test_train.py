"""The task of vae-train, without training."""

import os
from pathlib import Path

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


@pytest.mark.parametrize(
    ("earlier", "restart", "writes", "said"),
    [
        (False, False, False, "nothing was written"),
        (False, False, True, "vae-train 'resume=a run/seed=1' resumes after the last complete epoch"),
        (True, False, False, "vae-train 'resume=a run/seed=1' resumes after the last complete epoch"),
        (True, True, False, "nothing was written"),
        (True, True, True, "vae-train 'resume=a run/seed=1' resumes after the last complete epoch"),
    ],
)
def test_an_interrupted_run_says_how_it_resumes(
    earlier: bool, restart: bool, writes: bool, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = tmp_path / "a run/seed=1/.hydra/config.yaml"
    config.parent.mkdir(parents=True)
    if earlier:
        config.touch()
        os.utime(config, (1, 1))
    outcome = train._outcome(Path("a run/seed=1"), restart)
    if writes:
        config.write_text("new")
    assert outcome() == said
