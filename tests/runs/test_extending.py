"""A run that gets more epochs."""

from pathlib import Path

import pytest
from conftest import SMALL, TINY, Command, Compose, losses, metrics_of
from omegaconf import OmegaConf

from vae_lightning import InputError
from vae_lightning.runs.directory import METRICS
from vae_lightning.runs.extending import extend
from vae_lightning.runs.stored_config import config_to_resume, read_config
from vae_lightning.runs.training import train


def test_more_epochs_give_the_run_that_had_them_from_the_start(composed: Compose, tmp_path: Path) -> None:
    options = [*TINY, "logger=none"]
    whole = train(composed(*options, "trainer.max_epochs=4", run="whole"))
    train(composed(*options))
    run = tmp_path / "run"
    config = extend(run, config_to_resume(run), 4)
    assert not (run / METRICS).exists()
    assert read_config(run)["trainer"]["max_epochs"] == 4
    assert losses(train(OmegaConf.create(config))) == losses(whole)
    # Once more, as after a crash: the same command goes on, and a complete run is left as it is.
    assert extend(run, config_to_resume(run), 4)["trainer"]["max_epochs"] == 4
    assert (run / METRICS).exists()
    with pytest.raises(InputError, match=r"^trainer\.max_epochs=3: must be at least 4, the number of the run's epochs"):
        extend(run, config_to_resume(run), 3)


def test_the_command_raises_the_epochs_and_nothing_else(command: Command, tmp_path: Path) -> None:
    options = [*SMALL, "callbacks.figures=null", "schedule=cosine", "schedule.steps=32"]
    assert command("train", *options, "hydra.run.dir=run").returncode == 0
    refused = command("train", "resume=run", "optimizer.lr=1")
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    done = command("train", "resume=run", "trainer.max_epochs=3")
    assert done.returncode == 0, done.stderr
    assert "resumes after epoch 2" in done.stdout
    assert "the schedule ends at step 32 of 48: from then on, the learning rate's factor is 0" in done.stdout
    assert metrics_of(tmp_path / "run")["epochs"] == 3
