"""Runs of any folders in one table: what is shown, what is ranked together, and what the command says."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import Command, Compose, fake_job, kill_after
from omegaconf import DictConfig, OmegaConf

from vae_lightning.reports.results import SweepResults
from vae_lightning.reports.run_sets import read_runs


@pytest.fixture(scope="module")
def configuration(tmp_path_factory: pytest.TempPathFactory) -> DictConfig:
    from conftest import composing
    from hydra import compose

    with composing():
        return compose("train", ["run_dir=run", "sweep.name=test", "data=mnist_5k"])


def fake_run(folder: Path, configuration: DictConfig, metrics: dict[str, float] | None = None, **changes: Any) -> None:
    """Write the files of a run with a configuration in which dotted keys have changed; complete if it has metrics."""
    config = OmegaConf.create(OmegaConf.to_container(configuration))
    for key, value in changes.items():
        OmegaConf.update(config, key.replace("__", "."), value)
    config.run_dir = str(folder)
    (folder / ".hydra").mkdir(parents=True)
    OmegaConf.save(config, folder / ".hydra/config.yaml", resolve=True)
    if metrics is not None:
        (folder / "metrics.json").write_text(json.dumps({"total_seconds": 2.0, **metrics}))


def by_job(found: SweepResults, column: str) -> dict[str, Any]:
    return dict(zip(found.jobs["job"], found.jobs[column], strict=True))


def test_runs_of_any_folders_are_one_table(tmp_path: Path, configuration: DictConfig) -> None:
    fake_run(tmp_path / "runs/a", configuration, {"val/loss": 3.0}, model__latent_dim=2)
    fake_run(tmp_path / "runs/b", configuration, {"val/loss": 2.0}, model__latent_dim=5)
    fake_run(tmp_path / "sweeps/s/0", configuration, {"val/loss": 1.0}, optimizer__lr=0.1)
    fake_run(tmp_path / "cut off", configuration, model__latent_dim=2)
    found = read_runs([tmp_path, tmp_path / "runs", tmp_path / "runs/a"], tmp_path)
    assert [*by_job(found, "status").items()] == [
        ("cut off", "unfinished"),
        ("runs/a", "complete"),
        ("runs/b", "complete"),
        ("sweeps/s/0", "complete"),
    ]
    assert found.settings == ["data", "model", "objective", "latent_dim", "lr"]
    assert by_job(found, "latent_dim") == {"cut off": 2, "runs/a": 2, "runs/b": 5, "sweeps/s/0": 20}
    assert set(found.jobs["data"]) == {"MNIST5k"}
    assert found.ranked[["lr", "val/loss"]].to_numpy().tolist() == [[0.1, 1.0], [0.001, 2.0], [0.001, 3.0]]
    assert "vae-train resume=" in by_job(found, "why")["cut off"]


def test_runs_that_differ_in_the_seed_alone_are_one_configuration(tmp_path: Path, configuration: DictConfig) -> None:
    for seed in (1, 2, 3):
        fake_run(tmp_path / str(seed), configuration, {"val/loss": float(seed)}, seed=seed)
    found = read_runs([tmp_path], tmp_path)
    (row,) = found.ranked.to_dict("records")
    assert (row["runs"], row["val/loss"], row["val/loss std"]) == (3, 2.0, 1.0)
    assert by_job(found, "seed") == {"1": 1, "2": 2, "3": 3}
    assert "seed" not in found.settings


INCOMPARABLE = {
    "likelihood": {"likelihood___target_": "vae_lightning.likelihoods.Gaussian", "likelihood__sigma": 0.5},
    "binarisation": {"data__binarisation": "dynamic"},
    "data": {"data___target_": "vae_lightning.data.MNISTDataModule"},
    "split": {"data__val_size": 100},
    "part of the validation": {"trainer__limit_val_batches": 0.5},
}


@pytest.mark.parametrize("changes", INCOMPARABLE.values(), ids=INCOMPARABLE)
def test_losses_of_other_images_or_likelihoods_are_not_ranked_together(
    changes: dict[str, Any], tmp_path: Path, configuration: DictConfig
) -> None:
    fake_run(tmp_path / "a", configuration, {"val/loss": 2.0})
    fake_run(tmp_path / "b", configuration, {"val/loss": 1.0}, **changes)
    groups = by_job(read_runs([tmp_path], tmp_path), "group")
    assert groups["a"] != groups["b"]


COMPARABLE = [{"data__batch_size": 9}, {"objective__beta": 2.0}, {"model__latent_dim": 3}, {"trainer__max_epochs": 4}]


@pytest.mark.parametrize("changes", COMPARABLE, ids=str)
def test_losses_of_the_same_images_are_ranked_together(
    changes: dict[str, Any], tmp_path: Path, configuration: DictConfig
) -> None:
    fake_run(tmp_path / "a", configuration, {"val/loss": 2.0})
    fake_run(tmp_path / "b", configuration, {"val/loss": 1.0}, **changes)
    found = read_runs([tmp_path], tmp_path)
    assert found.jobs["group"].nunique() == 1
    assert found.ranked["val/loss"].tolist() == [1.0, 2.0]


def test_a_setting_that_follows_from_a_class_has_no_column(tmp_path: Path, configuration: DictConfig) -> None:
    fake_run(tmp_path / "a", configuration, {"val/loss": 2.0})
    beta = {"objective___target_": "vae_lightning.objectives.BetaELBO", "objective__beta": 2.0}
    fake_run(tmp_path / "b", configuration, {"val/loss": 1.0}, **beta)
    found = read_runs([tmp_path], tmp_path)
    assert found.settings == ["data", "model", "objective"]
    assert by_job(found, "objective") == {"a": "NegativeELBO", "b": "BetaELBO"}
    fake_run(tmp_path / "c", configuration, {"val/loss": 1.5}, **beta | {"objective__beta": 4.0})
    found = read_runs([tmp_path], tmp_path)
    assert found.settings == ["data", "model", "objective", "beta"]
    assert found.jobs["beta"].fillna(0).tolist() == [0, 2.0, 4.0]


def test_a_damaged_run_costs_itself_alone(tmp_path: Path, configuration: DictConfig) -> None:
    fake_run(tmp_path / "a", configuration, {"val/loss": 2.0})
    fake_run(tmp_path / "b", configuration, {"val/loss": 1.0})
    (tmp_path / "b/.hydra/config.yaml").write_bytes(b"\x89PNG: [")
    found = read_runs([tmp_path], tmp_path)
    assert by_job(found, "status") == {"a": "complete", "b": "damaged"}
    assert len(found.ranked) == 1


# The command.


def test_one_table_of_everything(tmp_path: Path, configuration: DictConfig, command: Command) -> None:
    grey = {"val/loss": 2.0, "probe/val_acc": 0.5, "test/loss": 9.0}
    fake_run(tmp_path / "outputs/runs/a", configuration, grey)
    fake_run(tmp_path / "outputs/runs/b", configuration, grey | {"val/loss": 1.0}, model__latent_dim=7)
    fake_run(tmp_path / "outputs/runs/c", configuration, {"val/loss": 0.5}, data__binarisation="threshold")
    done = command("report", "outputs")
    lines = done.stdout.splitlines()
    assert lines[:2] == [
        "3 runs: 3 complete",
        "Losses are comparable within a group alone: the same validation images and likelihood.",
    ]
    place = lines.index("MNIST5k, Bernoulli, binarisation=none: 2 runs, best first by val/loss")
    assert [line.split() for line in lines[place + 2 : place + 5]] == [
        ["val/loss", "probe/val_acc", "runs", "latent_dim"],
        ["1.00", "0.5000", "1", "7"],
        ["2.00", "0.5000", "1", "20"],
    ]
    assert f"best   {Path('outputs/runs/b')}" in lines
    table = pd.read_csv(tmp_path / "outputs/results.csv")
    assert table["job"].tolist() == ["runs/a", "runs/b", "runs/c"]
    # Patterns and several folders; nothing is written unless a folder is named.
    several = command("report", "outputs/runs/[ab]", "outputs/runs/c", "--by", "probe/val_acc")
    assert several.stdout.splitlines()[0] == "3 runs: 3 complete"
    assert not (tmp_path / "results.csv").exists()
    command("report", "outputs/runs/[ab]", "--output", "compared")
    assert pd.read_csv(tmp_path / "compared/results.csv")["job"].tolist() == ["../outputs/runs/a", "../outputs/runs/b"]


def test_a_wide_table_is_cut_to_the_terminal(
    tmp_path: Path, configuration: DictConfig, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        changes = {"model__latent_dim": number + 1, "optimizer__lr": 0.1 / (number + 1), "data__batch_size": number + 5}
        fake_run(tmp_path / f"o/{number}", configuration, {"val/loss": 2.0}, **changes, trainer__max_epochs=number + 3)
    monkeypatch.setenv("COLUMNS", "40")
    table = command("report", "o").stdout.splitlines()[2:]
    assert max(map(len, table[:6])) > 10
    assert all(len(line) <= 40 for line in table if line.startswith("2.00"))
    assert any(line.startswith("... and the columns") for line in table)


REFUSED = {
    "nowhere": ("nowhere: must be a folder",),
    ".": (".: must be a run, a sweep or a folder that holds one",),
    "o --by test/loss": ("--by test/loss: must be a metric of training or validation",),
    "o --by val/nothing": ("--by val/nothing: must be a metric that a run has, one of", "val/loss"),
    "": ("PATH", "required", "vae-report --help"),
}


@pytest.mark.parametrize(("arguments", "said"), REFUSED.items(), ids=REFUSED)
def test_what_is_refused(
    arguments: str, said: tuple[str, ...], tmp_path: Path, configuration: DictConfig, command: Command
) -> None:
    if arguments != ".":
        fake_run(tmp_path / "o/a", configuration, {"val/loss": 2.0})
    done = command("report", *arguments.split())
    assert done.returncode == 2
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert all(part in line for part in said)
    assert not list(tmp_path.rglob("results.csv"))


def test_a_sweep_is_ranked_by_another_metric_if_asked(tmp_path: Path, command: Command) -> None:
    for latent_dim, accuracy in ((2, 0.9), (5, 0.8)):
        metrics = {"val/loss": 10.0 - latent_dim, "probe/val_acc": accuracy}
        fake_job(tmp_path / "s", {"latent_dim": latent_dim}, **metrics)
    assert "best       latent_dim=5   val/loss 5.00" in command("report", "s").stdout
    assert "best       latent_dim=2   probe/val_acc 0.9000" in command("report", "s", "--by", "probe/val_acc").stdout


def test_a_runs_closing_table_comes_back(tmp_path: Path, command: Command, composed: Compose) -> None:
    small = ["data=mnist_5k", "trainer=cpu", "trainer.max_epochs=2", "callbacks.figures=null", "data.val_size=3000"]
    said = command("train", *small, "hydra.run.dir=r").stdout
    again = command("report", "r").stdout
    assert again.strip()
    assert said.endswith(again)
    # The lines of the epochs are in the log, and once on the terminal.
    lines = [line for line in said.splitlines() if line.startswith("epoch")]
    logged = (tmp_path / "r/train.log").read_text().splitlines()
    assert [line.partition(" - ")[2] for line in logged if " - epoch" in line] == lines
    assert len(lines) == 2


def test_a_run_that_was_cut_off_says_how_far_it_is(tmp_path: Path, command: Command) -> None:
    small = ["data=mnist_5k", "trainer=cpu", "callbacks.figures=null", "data.val_size=3000"]
    kill_after(2, tmp_path, *small, "trainer.max_epochs=50", "hydra.run.dir=r")
    lines = command("report", "r").stdout.splitlines()
    assert lines[0] == "r: unfinished, still running, or interrupted: vae-train resume=r resumes it"
    assert lines[1].startswith("epoch ")
    assert "val/loss" in lines[1]
