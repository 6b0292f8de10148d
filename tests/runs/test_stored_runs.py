"""Runs that an earlier version stored: they resume, evaluate, export, and are passed over as complete."""

import json
import pkgutil
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import Command, composing, evaluated, losses, metrics_of
from hydra import compose
from omegaconf import OmegaConf

from vae_lightning.commands.export import export
from vae_lightning.config.moved_names import current_name
from vae_lightning.runs.stored_config import read_config, relocated
from vae_lightning.runs.training import train

STORED = Path(__file__).parents[1] / "stored"
OPTIONS = ["data=files", "data.path=digits.npz", "data.val_size=20", "data.batch_size=20", "data.eval_batch_size=40"]
OPTIONS += ["trainer=cpu", "trainer.max_epochs=2", "model.widths=[8]", "optimizer.lr=0.01", "seed=3"]
EXPECTED: dict[str, Any] = json.loads((STORED / "expected.json").read_text())
NAMES: dict[str, dict[str, str]] = yaml.safe_load((STORED / "old_names.yaml").read_text())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a copy of the stored runs and their data."""
    shutil.copytree(STORED, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def close(found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Compare numbers of one processor with those of another; an accuracy may move by an image."""
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if isinstance(value, int | float | list):
            tolerance = 0.03 if name.endswith("_acc") else 1e-4 if name.endswith(("information", "marginal_kl")) else 0
            assert found[name] == pytest.approx(value, rel=1e-5, abs=tolerance), name
        else:
            assert found[name] == value


def without_best(metrics: dict[str, Any]) -> dict[str, Any]:
    """Leave out the best epoch, which earlier versions did not store."""
    return {name: value for name, value in metrics.items() if not name.startswith("best/")}


def test_a_stored_run_resumes(folder: Path) -> None:
    run = folder / "cut_off"
    metrics = train(OmegaConf.create(relocated(read_config(run), str(run)) | {"restart": False}))
    close(without_best(losses(metrics)), EXPECTED["metrics"])
    assert metrics == metrics_of(run)
    epochs = [line.split(",")[0] for line in (run / "metrics.csv").read_text().splitlines()]
    assert epochs == ["epoch", "0", "1", "2", "3", "4"]


def test_a_stored_run_evaluates_and_exports(folder: Path) -> None:
    evaluated(folder / "complete", "samples=50")
    content = json.loads((folder / "complete/evaluation.json").read_text())
    expected = {**EXPECTED["evaluation"]}
    protocol, earlier = content.pop("protocol"), expected.pop("protocol")
    # Earlier versions did not store these.
    assert [protocol.pop(name) for name in ("latent_dim", "epoch", "posterior_images")] == [2, 2, 40]
    assert protocol.pop("matmul_precision") in ("highest", "high", "medium")
    assert (protocol.pop("trainer_precision"), protocol.pop("choice_of_images")) == (
        "32-true",
        "evenly spaced over the split",
    )
    assert protocol | {"likelihood": ...} == earlier | {"likelihood": ...}  # a description, whose words may change
    close(content, expected)
    with composing():
        export(compose("export", ["run=complete"]))
    assert all((Path("complete/export") / f"{name}.onnx").is_file() for name in ("encoder", "decoder"))


def test_stored_runs_are_passed_over_as_complete(folder: Path, command: Command) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("metrics.json")}
    done = command("train", *OPTIONS, "model.latent_dim=2", "hydra.run.dir=complete")
    assert (done.returncode, done.stderr) == (0, "")
    assert "complete is already complete" in done.stdout
    refused = command("train", *OPTIONS, "model.latent_dim=3", "hydra.run.dir=complete")
    assert refused.returncode == 2
    assert "holds a run of another configuration (model.latent_dim: 2, now 3)" in refused.stderr
    (folder / "outputs/sweeps").mkdir(parents=True)
    shutil.move(folder / "sweep", folder / "outputs/sweeps/stored")
    swept = command("train", "-m", *OPTIONS, "model.latent_dim=2,3", "sweep.name=stored")
    assert (swept.returncode, swept.stderr) == (0, "")
    assert swept.stdout.count("is already complete") == 2
    now = {path.parent.name: path.read_bytes() for path in folder.rglob("metrics.json")}
    assert now == {path.parent.name: content for path, content in before.items()}


@pytest.mark.parametrize("name", [name for names in NAMES.values() for name in names.values()])
def test_an_earlier_name_is_that_of_a_class(name: str) -> None:
    assert isinstance(pkgutil.resolve_name(current_name(name)), type)
    assert pkgutil.resolve_name(name) is pkgutil.resolve_name(current_name(name))
