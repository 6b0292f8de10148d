"""A search as its user sees it: what it prints, what it refuses, and how long its pruned runs took."""

import json
from pathlib import Path

import pandas as pd
import pytest
from conftest import Command

SEARCH = [
    *("-m", "experiment=search", "data=mnist_5k", "trainer=cpu", "data.val_size=3000", "model.widths=[8]"),
    *("trainer.max_epochs=3", "callbacks.figures=null", "callbacks.probe.max_iter=20", "sweep.name=s"),
]
STACKED = "hydra/launcher=stacked"
PLACES = ("best  ", "second", "third", "fourth", "fifth")


@pytest.mark.parametrize("launcher", [[STACKED], []])
def test_pruned_trials_have_a_time_and_a_line_each(launcher: list[str], command: Command, tmp_path: Path) -> None:
    options = ["hydra/sweeper/pruner=successive_halving", "hydra.sweeper.n_trials=6", *launcher]
    done = command("train", *SEARCH, *options)
    assert done.returncode == 0, done.stderr
    trials = pd.read_csv(tmp_path / "outputs/sweeps/s/trials.csv").set_index("number")
    pruned = trials[trials["state"] == "pruned"]
    assert len(pruned) >= 2
    assert (pruned["seconds"] > 0).all()
    jobs = pd.read_csv(tmp_path / "outputs/sweeps/s/results.csv").set_index("job")
    for number, job in pruned["jobs"].items():
        assert jobs["seconds"][job] == pytest.approx(pruned["seconds"][number])
    assert " epochs trained, so that pruning saved about " in done.stdout
    assert ".0 of " not in (tmp_path / "outputs/sweeps/s/summary.md").read_text()
    ends = [line for line in done.stdout.splitlines() if "][HYDRA] " in line and "pruned after epoch" in line]
    named = [number for line in ends for number in line.partition("trial")[2].replace(",", " ").split()]
    if launcher:  # one line an epoch, when it happens
        assert all("[HYDRA] pruned after epoch" in line for line in ends)
        assert sorted(int(number) for number in named if number.isdigit()) == sorted(pruned.index)
    else:
        assert [line.partition("trial ")[2].partition(":")[0] for line in ends] == [*map(str, pruned.index)]
    best = [line for line in done.stdout.splitlines() if line.endswith(", the best so far")]
    assert f"trial {trials['val/loss'].idxmin()}: " in best[-1]


def test_a_stacked_search_with_several_objectives_has_a_front(command: Command, tmp_path: Path) -> None:
    both = "hydra.sweeper.objectives={val/loss:minimize,probe/val_acc:maximize}"
    done = command("train", *SEARCH, STACKED, both, "hydra.sweeper.n_trials=3")
    assert done.returncode == 0, done.stderr
    assert "trials     3 trials: 3 complete" in done.stdout
    refused = command("train", *SEARCH, both, "hydra/sweeper/pruner=median", "sweep.name=refused")
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert "hydra/sweeper/pruner=none" in refused.stderr


def test_a_job_is_named_without_the_keys_that_it_lacks(command: Command, tmp_path: Path) -> None:
    space = ["objective=elbo,beta", "objective.beta=interval(2,4)", "model.latent_dim=2", "optimizer.lr=1e-3"]
    condition = "hydra.sweeper.conditions={objective.beta:'objective=beta'}"
    done = command("train", *SEARCH, *space, condition, STACKED, "hydra.sweeper.n_trials=6", "trainer.max_epochs=1")
    assert done.returncode == 0, done.stderr
    folders = [path.parent for path in (tmp_path / "outputs/sweeps/s").glob("*/job.json")]
    axes = {folder.name: json.loads((folder / "job.json").read_text())["axes"] for folder in folders}
    assert axes["objective=elbo"] == {"objective": "elbo"}
    assert all(name.startswith("objective=beta,beta=") for name in axes.keys() - {"objective=elbo"})
    best = [line for line in done.stdout.splitlines() if line.startswith(PLACES)]
    values = [line[11:].partition("   ")[0] for line in best]
    assert "objective=elbo" in values
    assert len({*values}) == len(values)  # trials of the same values are named once


def test_a_line_of_a_grid_has_its_axes_alone(command: Command) -> None:
    grid = ["-m", *SEARCH[2:], "hydra/sweeper=grid", "hydra/sweeper/pruner=successive_halving", STACKED]
    done = command("train", *grid, "model.latent_dim=2,5,9", "trainer.max_epochs=1")
    assert done.returncode == 0, done.stderr
    lines = [line.partition("3): ")[2] for line in done.stdout.splitlines() if " of 3): " in line]
    assert lines == ["model.latent_dim=2", "model.latent_dim=5", "model.latent_dim=9"]


@pytest.mark.parametrize(
    ("given", "refused"),
    [
        ("model.latent_dim=interval(32,2)", "model.latent_dim=interval(32,2): must be a range of numbers: the first"),
        ("model.latent_dim=range(32,2)", "model.latent_dim=range(32,2): must be a range of numbers: it has none; the"),
        ("hydra.sweeper.objectives={val/los:minimize}", "hydra.sweeper.objectives.val/los: there is no such name"),
        (
            "hydra.sweeper.storage=postgresql+psycopg://me:secret@localhost:1/x",
            "hydra.sweeper.storage=postgresql+psycopg://me:***@localhost:1/x: cannot be opened: connection failed",
        ),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(given: str, refused: str, command: Command, tmp_path: Path) -> None:
    done = command("train", *SEARCH, given)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {refused}")
    assert done.stderr.count("\n") == 1
    assert "secret" not in done.stderr
    assert not (tmp_path / "outputs").exists()
