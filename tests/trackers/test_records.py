"""The records of a run begin and end together, and leave the process's environment as it was."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from lightning.pytorch.loggers import CSVLogger, MLFlowLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from vae_lightning import InputError
from vae_lightning.trackers.event_files import event_files
from vae_lightning.trackers.records import begin_trackers, tracker_ids

# How long MLflow tries to reach a server.
PATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Restore the environment after a test, because trackers read variables for as long as the process lives."""
    for variable in PATIENCE:
        monkeypatch.delenv(variable, raising=False)
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


class Local(MLFlowLogger):
    """A record whose server is a list in this process."""

    told: list[Any]

    def __init__(self, run_id: str | None = None, tracking_uri: str = "here") -> None:
        self._run_id = run_id
        self.told.append(("begun", tracking_uri, {name: os.environ.get(name) for name in PATIENCE}))

    @property
    def experiment(self) -> Any:
        return SimpleNamespace(update_run=lambda run_id, status: self.told.append((run_id, status)))

    @property
    def run_id(self) -> str | None:
        return self._run_id

    @property
    def version(self) -> str:
        return self._run_id or "new"

    def finalize(self, status: str = "success") -> None:
        self.told.append(("ended", status))


class Unreachable(CSVLogger):
    def __init__(self) -> None:
        raise ConnectionError("nobody answers")


LOCAL, UNREACHABLE = {"_target_": f"{__name__}.Local"}, {"_target_": f"{__name__}.Unreachable"}


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The calls that the servers have received."""
    monkeypatch.setattr(Local, "told", [], raising=False)
    return Local.told


def test_only_the_first_contact_with_a_server_is_impatient(told: list[Any]) -> None:
    begin_trackers({"mine": LOCAL}, {}, None)
    assert told == [("begun", "here", PATIENCE)]
    assert PATIENCE.keys().isdisjoint(os.environ)


def test_a_users_own_patience_stays(told: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    name = next(iter(PATIENCE))
    monkeypatch.setenv(name, "7")
    begin_trackers({"mine": LOCAL}, {}, None)
    assert told[0][2][name] == os.environ[name] == "7"


def test_the_record_of_a_resumed_run_is_marked_as_running_again(told: list[Any]) -> None:
    node = {**LOCAL, "run_id": None}
    loggers = begin_trackers({"mine": node}, {"mine": "7", "another's": "8"}, 16)
    assert told[-1] == ("7", "RUNNING")
    assert tracker_ids(loggers) == {"mine": "7"}
    assert node["run_id"] is None  # the configuration stays as it is


def test_when_a_tracker_cannot_begin_the_others_end_as_failed(told: list[Any]) -> None:
    with pytest.raises(InputError, match="logger=yours: nobody answers"):
        begin_trackers({"mine": LOCAL, "yours": UNREACHABLE}, {}, None)
    assert told[-1] == ("ended", "failed")


def test_servers_begin_before_what_is_local(told: list[Any]) -> None:
    nodes = {"local": LOCAL, "none": None, "remote": {**LOCAL, "tracking_uri": "http://127.0.0.1:9"}}
    loggers = begin_trackers(nodes, {}, None)
    assert [place for _, place, _ in told] == ["http://127.0.0.1:9", "here"]
    assert [*loggers] == ["local", "remote"]


def test_a_clock_that_is_put_back_leaves_tensorboards_steps_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = {
        "_target_": "lightning.pytorch.loggers.TensorBoardLogger",
        "save_dir": str(tmp_path),
        "name": "tensorboard",
        "version": "",
        "purge_step": None,
    }
    began = time.time()
    for clock, resumed, steps in ((began, None, (1, 2)), (began - 500, 2, (2, 3)), (began - 1000, 3, (3, 4))):
        monkeypatch.setattr(time, "time", lambda clock=clock: clock)
        (logger,) = begin_trackers({"tensorboard": node}, {}, resumed).values()
        for step in steps:
            logger.log_metrics({"loss": step}, step)
        logger.finalize("success")
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(1, 1), (2, 2), (3, 3), (4, 4)]


def test_a_run_of_an_earlier_version_goes_on_in_its_own_folder(tmp_path: Path) -> None:
    node = {
        "_target_": "lightning.pytorch.loggers.TensorBoardLogger",
        "save_dir": str(tmp_path),
        "name": "",
        "version": "",
        "purge_step": None,
    }
    for earlier, resumed, folder in (("tensorboard", None, "tensorboard"), ("", 2, "tensorboard"), ("", None, "")):
        (logger,) = begin_trackers({"tensorboard": node | {"name": earlier or node["name"]}}, {}, resumed).values()
        logger.log_metrics({"loss": 1.0}, 3)
        logger.finalize("success")
        assert Path(str(logger.log_dir)) == tmp_path / folder
    assert len(event_files(tmp_path / "tensorboard")) == 2
    assert len(event_files(tmp_path)) == 1
