"""Studies that several commands share, in a real PostgreSQL server, a journal and SQLite files."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import pytest
from searching import SWEEP, Begin, counted, jobs_here, own_study, results, states

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The URL of a PostgreSQL server without databases of its own, which belongs to a user without rights."""
    found = {name: _server_program(name) for name in ("initdb", "postgres")}
    if None in found.values():
        pytest.skip("needs PostgreSQL's server, Debian's package postgresql")
    root = os.geteuid() == 0  # for whom PostgreSQL does not run
    as_user = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if root else []
    # Not pytest's own folder, which is closed to other users.
    with tempfile.TemporaryDirectory(prefix="postgresql") as folder, socket.create_server(("127.0.0.1", 0)) as free:
        if root:
            shutil.chown(folder, "nobody")
        port, data = free.getsockname()[1], f"{folder}/data"
        free.close()
        made = [*as_user, str(found["initdb"]), "-D", data, "-U", "search", "-A", "trust", "--no-sync"]
        subprocess.run(made, cwd="/", check=True, capture_output=True)
        options = ["-h", "127.0.0.1", "-p", str(port), "-k", folder, "-F"]
        with subprocess.Popen(
            [*as_user, str(found["postgres"]), "-D", data, *options],
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            try:
                _wait_for(port, process)
                yield f"postgresql+psycopg://search@127.0.0.1:{port}"
            finally:
                process.send_signal(signal.SIGINT)  # its fast shutdown
        assert process.returncode == 0


def _server_program(name: str) -> str | None:
    """The path of a program that Debian keeps out of the search path."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return shutil.which(name) or next((str(path) for path in reversed(found)), None)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError(f"PostgreSQL ended with {process.returncode}")


@pytest.fixture(params=["postgresql", "journal", "sqlite"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty storage outside the sweeps' folders."""
    if request.param != "postgresql":
        return {"journal": f"journal:{tmp_path}/journal.log", "sqlite": f"sqlite:///{tmp_path}/shared.db"}[
            request.param
        ]
    import psycopg

    server, name = request.getfixturevalue("server"), f"study_{time.time_ns()}"
    with psycopg.connect(f"{server.replace('+psycopg', '')}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return f"{server}/{name}"


def test_commands_in_several_folders_share_the_trials_and_none_waits_for_another(
    storage: str, tmp_path: Path, search: Begin
) -> None:
    options = [f"hydra.sweeper.storage={storage}", "hydra.sweeper.n_trials=7"]
    folders = [tmp_path / name for name in "abc"]
    stopped, *others = (search(folder, *options) for folder in folders)
    stopped.wait_until(lambda: jobs_here(stopped.folder))
    stopped.send(signal.SIGSTOP)
    for other in others:
        other.end()
    held = [trial.user_attrs["folder"] for trial in counted(storage) if trial.state.name == "RUNNING"]
    assert held == [str(folders[0] / SWEEP)]
    stopped.send(signal.SIGCONT)
    stopped.end()
    trials = counted(storage)
    assert states(trials) == ["COMPLETE"] * 7
    for folder in folders:
        search(folder, *options).end()  # nothing is left, and the report tells of all trials
        own = [trial for trial in trials if trial.user_attrs["folder"] == str(folder / SWEEP)]
        assert own, "a command without trials"
        table = results(folder)
        assert set(table["status"]) == {"complete"}
        assert sorted(table["val/loss"]) == sorted(trial.values[0] for trial in own)
        assert jobs_here(folder) == {job for trial in own for job in trial.user_attrs["jobs"]}
        assert "7 trials: 7 complete" in (folder / SWEEP / "summary.md").read_text()
    # Each trial was run once: no two folders hold the same job.
    assert not any(jobs_here(one) & jobs_here(other) for one, other in combinations(folders, 2))


@pytest.mark.parametrize("retries", [1, 0])
def test_the_trial_of_a_killed_command_is_tried_again_elsewhere_as_often_as_configured(
    retries: int, storage: str, tmp_path: Path, search: Begin
) -> None:
    options = [f"hydra.sweeper.storage={storage}", "hydra.sweeper.n_trials=3", f"hydra.sweeper.retries={retries}"]
    killed, living = tmp_path / "killed", tmp_path / "living"
    command = search(killed, *options)
    command.wait_until(lambda: jobs_here(killed))
    command.kill()
    search(living, *options).end()
    trials = counted(storage)
    assert states(trials) == (["COMPLETE"] * 3 if retries else ["FAIL", "COMPLETE", "COMPLETE"])
    assert {trial.user_attrs["folder"] for trial in trials[1 - retries :]} == {str(living / SWEEP)}
    (lost,) = jobs_here(killed)
    assert (lost in jobs_here(living)) == bool(retries)
    assert set(results(living)["status"]) == {"complete"}
    for _ in range(2):
        said = search(killed, *options).end(status=1 - retries)
        row = results(killed).loc[lost]
        if retries:
            assert row["status"] == "retried"
            assert row["why"] == f"its worker died; trial {trials[0].number} has run in its place"
            assert "1 retried" in (killed / SWEEP / "summary.md").read_text()
        else:
            assert (row["status"], row["why"]) == ("failed", "its worker died")
            assert f"failed     outputs/sweeps/s/{lost}: its worker died" in said
    assert counted(storage) == trials


@pytest.mark.parametrize("storage", ["postgresql", "journal"], indirect=True)
def test_a_machine_that_gives_no_sign_of_life_is_taken_for_dead_and_may_wake_up(
    storage: str, tmp_path: Path, search: Begin
) -> None:
    options = [f"hydra.sweeper.storage={storage}", "hydra.sweeper.n_trials=3", "hydra.sweeper.heartbeat=1"]
    asleep, awake = tmp_path / "asleep", tmp_path / "awake"
    sleeper = search(asleep, *options, machine="asleep")
    sleeper.wait_until(lambda: jobs_here(asleep))
    sleeper.send(signal.SIGSTOP)
    time.sleep(4)  # more than three heartbeats
    search(awake, *options, machine="awake").end()
    sleeper.send(signal.SIGCONT)
    assert "trial 0: another command took this one for dead" in sleeper.end()
    trials = counted(storage)
    assert states(trials) == ["COMPLETE"] * 3
    assert {trial.user_attrs["folder"] for trial in trials} == {str(awake / SWEEP)}
    assert set(results(asleep)["status"]) == {"complete"}


@pytest.mark.parametrize("launcher", ["basic", "stacked"])
def test_two_commands_in_one_folder_do_not_run_the_same_job(launcher: str, tmp_path: Path, search: Begin) -> None:
    options = [f"hydra/launcher={launcher}", "hydra.sweeper.n_trials=8", "hydra/sweeper/sampler=random"]
    options += ["hydra.sweeper.n_jobs=2"] if launcher == "stacked" else []
    # A single value, so that both choose the same job.
    options += ["model.latent_dim=range(2,3)", "hydra.sweeper.params=null", "trainer.max_epochs=40"]
    for command in [search(tmp_path, *options) for _ in range(2)]:
        command.end()
    trials = counted(own_study(tmp_path))
    assert states(trials) == ["COMPLETE"] * 8
    assert len({trial.user_attrs["worker"]["name"] for trial in trials}) == 2
    table = results(tmp_path)
    assert set(table["status"]) == {"complete"}
    for trial in trials:
        assert [table.loc[job, "val/loss"] for job in trial.user_attrs["jobs"]] == trial.values


def test_two_commands_in_one_folder_share_the_jobs_of_a_grid_with_a_pruner(tmp_path: Path, search: Begin) -> None:
    options = ["hydra/sweeper=grid", "hydra/sweeper/pruner=median", "model.latent_dim=2,3,4,5,6,7"]
    for command in [search(tmp_path, *options, experiment=None) for _ in range(2)]:
        command.end()
    trials = counted(own_study(tmp_path), "grid")
    assert len(trials) == len({*(tuple(trial.user_attrs["overrides"]) for trial in trials)}) == 6
    table = results(tmp_path)
    assert table["latent_dim"].tolist() == [2, 3, 4, 5, 6, 7]
    assert set(table["status"]) <= {"complete", "pruned"}
