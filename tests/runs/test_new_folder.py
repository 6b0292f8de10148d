"""Folders of runs and sweeps that start in the same second."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from conftest import Compose
from hydra.core.utils import setup_globals

from vae_lightning.config.hydra_versions import register_resolver
from vae_lightning.runs.new_folder import NewRunFolder
from vae_lightning.sweeps import callback
from vae_lightning.sweeps.callback import SweepCallback


@pytest.fixture(autouse=True)
def one_second(multirun: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Everything starts in the same second, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    register_resolver("now", lambda pattern: "12-00-00", use_cache=True, replace=True)
    yield
    setup_globals()


def test_two_runs_have_two_folders(multirun: Compose) -> None:
    for name in ("12-00-00", "12-00-00-2", "12-00-00-3"):
        config = multirun()
        NewRunFolder().on_run_start(config)
        assert config.hydra.run.dir == f"outputs/runs/{name}"
        assert Path(config.hydra.run.dir).is_dir()


@pytest.mark.parametrize(
    ("override", "folder"), [("resume=mine", "mine"), ("hydra.run.dir=mine", "mine"), ("hydra.run.dir=${now:%d}", None)]
)
def test_a_folder_that_is_given_is_used(override: str, folder: str | None, multirun: Compose, tmp_path: Path) -> None:
    config = multirun(override)
    NewRunFolder().on_run_start(config)
    assert config.hydra.run.dir == (folder or "12-00-00")
    assert list(tmp_path.iterdir()) == []


def test_the_processes_of_one_run_share_its_folder(
    multirun: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    NewRunFolder().on_run_start(multirun("hydra.run.dir=runs/${now:%S}"))
    assert list(tmp_path.iterdir()) == []


def test_two_unnamed_sweeps_have_two_folders_and_their_jobs_know_the_names(multirun: Compose, tmp_path: Path) -> None:
    for name in ("12-00-00", "12-00-00-2"):
        config = multirun("seed=1,2")
        config.hydra.sweep.dir = "outputs/sweeps/${sweep.name}"
        config.sweep.name = "${now:%H-%M-%S}"
        SweepCallback().on_multirun_start(config)
        assert config.hydra.sweep.dir == f"outputs/sweeps/{name}"
        assert Path(config.hydra.sweep.dir).is_dir()
        assert f"sweep.name={name}" in config.hydra.overrides.task


@pytest.mark.parametrize("dir_of_sweep", ["fixed", "outputs/sweeps/${sweep.name}"])
def test_a_sweep_with_a_name_or_a_folder_is_resumed(dir_of_sweep: str, multirun: Compose, tmp_path: Path) -> None:
    for _ in range(2):
        config = multirun("seed=1,2")
        config.hydra.sweep.dir = dir_of_sweep
        if dir_of_sweep == "fixed":
            config.sweep.name = "${now:%S}"
        SweepCallback().on_multirun_start(config)
        assert config.hydra.overrides.task[-2:] == ["seed=1,2", "sweep.axes=[seed]"]
        assert config.sweep.name == ("12-00-00" if dir_of_sweep == "fixed" else "s")
    assert len([*tmp_path.rglob("*")]) == (1 if dir_of_sweep == "fixed" else 3)


@pytest.mark.parametrize(
    ("given", "name", "said"),
    [
        (["-m", "seed=1,2"], "${now:%S}", "vae-train -m seed=1,2 sweep.name=12-00-00 resumes the sweep"),
        (["-m", "sweep.name=s", "model.widths=[8], [9]"], "s", "'model.widths=[8], [9]' resumes the sweep"),
    ],
)
def test_an_interrupted_sweep_says_how_it_resumes(
    given: list[str], name: str, said: str, multirun: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes: list[Callable[[], str]] = []
    monkeypatch.setattr(callback, "resumes_by", outcomes.append)
    monkeypatch.setattr(sys, "argv", ["vae-train", *given])
    config = multirun("seed=1,2")
    config.hydra.sweep.dir, config.sweep.name = "outputs/sweeps/${sweep.name}", name
    SweepCallback().on_multirun_start(config)
    assert outcomes[0]() == "nothing was written"
    job = Path(config.hydra.sweep.dir, "seed=1/job.json")
    job.parent.mkdir()
    job.touch()
    assert outcomes[0]().endswith(said)
