"""A run from someone else resumes only if everything that it writes stays in its directory."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import TINY, Compose, composing
from hydra import compose
from omegaconf import OmegaConf

from vae_lightning import InputError
from vae_lightning.commands.command import CONF
from vae_lightning.config.resolving import resolved
from vae_lightning.runs.checkpoints import SafeCheckpointIO
from vae_lightning.runs.directory import CONFIG, METRICS
from vae_lightning.runs.stored_config import config_to_resume, relocated
from vae_lightning.runs.training import train
from vae_lightning.trackers.rules import SHARED


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    """The configuration of a run in /elsewhere, with every logger."""
    with composing():
        loggers = "logger=[tensorboard,mlflow,wandb]"
        return resolved(compose("train", ["run_dir=/elsewhere", "sweep.name=test", *TINY, loggers]))


@pytest.fixture
def stored(config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of a run that has only stored its configuration, moved to where it is."""
    run = tmp_path / "moved"
    (run / CONFIG).parent.mkdir(parents=True)
    (run / CONFIG).write_text(OmegaConf.to_yaml(config))
    monkeypatch.chdir(tmp_path)
    return run


def change(run: Path, key: str, value: Any) -> None:
    config = OmegaConf.load(run / CONFIG)
    OmegaConf.update(config, key, value, force_add=True)
    (run / CONFIG).write_text(OmegaConf.to_yaml(config))


def test_a_moved_run_writes_where_it_is_now(stored: Path) -> None:
    config = config_to_resume(stored)
    assert config["callbacks"]["curves"]["table"] == str(stored / "metrics.csv")
    assert config["callbacks"]["last_checkpoint"]["dirpath"] == str(stored / "checkpoints")
    assert config["logger"]["wandb"]["save_dir"] == str(stored)
    assert "elsewhere" not in json.dumps({**config, "logger": {}})


MINE = {"_target_": "my.Callback"}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("callbacks.curves.table", "FILE"),
        ("callbacks.curves.table", "/elsewhere/../FILE"),
        ("callbacks.curves.picture", "/tmp/FILE"),
        ("callbacks.figures.directory", "~"),
        ("callbacks.figures.directory", "file"),
        ("callbacks.best_checkpoint.dirpath", "/"),
        ("callbacks.best_checkpoint.dirpath", "s3://bucket"),
        ("callbacks.best_checkpoint.dirpath", "file:///tmp"),
        ("callbacks.best_checkpoint.filename", "../../FILE"),
        ("callbacks.best_checkpoint.filename", "/tmp/FILE"),
        ("callbacks.best_checkpoint.filename", "a\0b"),
        ("logger.tensorboard.save_dir", "."),
        ("logger.tensorboard.name", "/tmp"),
        ("logger.tensorboard.version", "../../other"),
        ("logger.tensorboard.filename_suffix", "/../../../FILE"),
        ("logger.wandb.save_dir", "$HOME"),
        ("logger.mlflow.tracking_uri", "sqlite:////tmp/other.db"),
        ("logger.mlflow.tracking_uri", "file:///tmp/other"),
        ("logger.mlflow.artifact_location", "other"),
        ("callbacks.mine", {**MINE, "log_file": "FILE"}),
        ("callbacks.mine", {**MINE, "anything": "/tmp/FILE"}),
        ("callbacks.mine", {**MINE, "options": {"paths": ["FILE"]}}),
        ("callbacks.mine", {"_target_": "lightning.pytorch.callbacks.ModelCheckpoint", "filename": "../FILE"}),
        ("callbacks.curves.table", "${oc.env:HOME}/FILE"),
        ("seed", "${data.seed}"),
    ],
)
def test_an_output_outside_is_refused_by_name(key: str, value: Any, stored: Path) -> None:
    change(stored, key, value)
    with pytest.raises(InputError, match=key) as caught:
        config_to_resume(stored)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("callbacks.curves.table", "moved/table.csv"),
        ("callbacks.stop", {"_target_": "lightning.pytorch.callbacks.EarlyStopping", "monitor": "val/loss"}),
        ("callbacks.mine", {**MINE, "metric": "val/loss", "title": "a file of mine", "count": 3}),
        ("callbacks.mine", {"_target_": "lightning.pytorch.callbacks.ModelCheckpoint", "filename": "mine"}),
        ("callbacks.figures", None),
        ("logger", {}),
        ("logger.mlflow.tracking_uri", "https://example.org"),
        ("data.root", "/data"),
    ],
)
def test_what_stays_inside_or_only_reads_is_accepted(key: str, value: Any, stored: Path) -> None:
    change(stored, key, value)
    config_to_resume(stored)


def test_the_allowed_stores_are_those_of_the_configuration() -> None:
    mlflow = yaml.safe_load((CONF / "logger/mlflow.yaml").read_text())["mlflow"]
    assert (mlflow["tracking_uri"], mlflow["artifact_location"]) == SHARED


def test_a_database_in_the_run_directory_moves_with_it() -> None:
    config = {"run_dir": "/old/run", "uri": "sqlite:////old/run/mlflow.db", "other": "/old/runs", "text": "in /old/run"}
    assert relocated(config, "/new") == {
        "run_dir": "/new",
        "uri": "sqlite:////new/mlflow.db",
        "other": "/old/runs",
        "text": "in /old/run",
    }


@pytest.mark.parametrize("name", ["figures", "train.log", "checkpoints/last.ckpt.part"])
def test_a_link_out_of_the_directory_is_refused(name: str, stored: Path) -> None:
    (stored / "checkpoints").mkdir()
    (stored / "inside").symlink_to(stored / "checkpoints")
    config_to_resume(stored)
    (stored / name).symlink_to(stored.parent / "outside")
    with pytest.raises(InputError, match=rf"moved/{name}: must not be a link"):
        config_to_resume(stored)


def test_a_run_with_an_output_elsewhere_resumes_by_its_own_command(composed: Compose, tmp_path: Path) -> None:
    run, table = tmp_path / "run", tmp_path / "table.csv"
    options = [*TINY, f"callbacks.curves.table='{table}'"]
    train(composed(*options))
    whole = table.read_text()
    (run / METRICS).unlink()
    shutil.move(run / "checkpoints/previous.ckpt", run / "checkpoints/last.ckpt")
    with pytest.raises(InputError, match=rf"callbacks\.curves\.table={table}: must be inside .* hydra\.run\.dir={run}"):
        config_to_resume(run)
    train(composed(*options))
    assert table.read_text() == whole


@pytest.mark.parametrize("path", ["../folder", "checkpoints/../../folder/file.ckpt", "checkpoints", "notes.txt"])
def test_only_checkpoints_are_removed_in_place_of_better_ones(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for file in ("folder/file.ckpt", "checkpoints/old.ckpt", "notes.txt"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    for given in (path, f"local://{tmp_path / path}"):
        SafeCheckpointIO().remove_checkpoint(given)
    assert sorted(tmp_path.rglob("*")) == before
    SafeCheckpointIO().remove_checkpoint("checkpoints/old.ckpt")
    assert sorted(tmp_path.rglob("*")) == [file for file in before if file.name != "old.ckpt"]
