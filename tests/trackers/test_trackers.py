"""What Weights & Biases and MLflow keep of a run, read back from their own files; neither account nor network."""

import importlib
import json
import os
import re
import socket
import struct
import subprocess
import sys
import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import pytest
import yaml
from conftest import SMALL, Command, kill_after
from warm_process import run_command

pytest.importorskip("wandb")
pytest.importorskip("mlflow")

BOTH = ["logger=[tensorboard,wandb,mlflow]", "logger.wandb.offline=true"]
SHORT = [*SMALL, "trainer.max_epochs=3", "callbacks.probe.max_iter=20", "callbacks.probe.every_n_epochs=2"]

Train = Callable[..., subprocess.CompletedProcess[str]]


class Record(NamedTuple):
    """What a tracker knows of a run: metrics and pictures by name, at their steps."""

    status: str
    parameters: dict[str, Any]
    metrics: dict[str, dict[int, float]]
    pictures: dict[str, dict[int, Path]]


def environment(folder: Path, reading: bool = False) -> dict[str, str]:
    """No home but an empty folder, and no way to any host but this one."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("WANDB_", "MLFLOW_"))}
    for name in ("CI", "GITHUB_ACTIONS", "PYTEST_CURRENT_TEST", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
        kept.pop(name, None)  # within tests MLflow would be silent by itself
    site = folder / "site"
    if not site.exists():
        site.mkdir(parents=True)
        (folder / "home").mkdir()
        (site / "sitecustomize.py").write_text(_GUARD.format(log=str(folder / "connections")))
    paths = [str(site), *filter(None, [os.environ.get("PYTHONPATH")])]
    if reading:  # MLflow's own means, and not what vae-train makes of them
        kept["MLFLOW_DISABLE_TELEMETRY"] = "true"
    libraries = {"MPLCONFIGDIR": str(folder / "matplotlib"), "HTTPS_PROXY": "http://127.0.0.1:9"}
    return kept | libraries | {"HOME": str(folder / "home"), "PYTHONPATH": os.pathsep.join(paths)}


_GUARD = """\
import socket, sys

def look(event, arguments):
    if event == "socket.getaddrinfo" or event == "socket.connect":
        host = arguments[0] if event == "socket.getaddrinfo" else arguments[1]
        host = host[0] if isinstance(host, tuple) else host
        if host not in ("127.0.0.1", "localhost", "::1", None, "", "0.0.0.0", socket.gethostname()) and not (
            isinstance(host, (str, bytes)) and b"/" in (host if isinstance(host, bytes) else host.encode())
        ):
            with open({log!r}, "a") as file:
                file.write(f"{{event}} {{host}}\\n")

sys.addaudithook(look)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where all runs of this file are; at the end nothing lies outside their folders, and nobody was called."""
    folder = tmp_path_factory.mktemp("trackers")
    work = folder / "work"
    work.mkdir()
    yield work
    written = [path for path in (folder / "home").rglob("*") if path.is_file()]
    assert [path for path in written if path.parent.name != "vae-lightning"] == []  # the precision of matrix products
    assert {path.name for path in work.iterdir()} <= {"outputs", "run", "out", "two"}
    assert not (folder / "connections").exists(), (folder / "connections").read_text()


@pytest.fixture(scope="module")
def train(place: Path) -> Train:
    """``train(*arguments)``: vae-train in that folder."""

    def run(*arguments: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        return run_command("train", *arguments, cwd=place, env=environment(place.parent), timeout=timeout)

    return run


# Reading records.


def wandb_records(run: Path) -> list[Record]:
    """The offline records in a run directory, those of one identity as one, as wandb sync uploads them."""
    found: dict[str, Record] = {}
    for file in sorted(run.glob("wandb/offline-run-*/run-*.wandb")):
        identity = file.stem.removeprefix("run-")
        record = found.get(identity, Record("", {}, defaultdict(dict), defaultdict(dict)))
        status = "running"
        for content in _wandb_contents(file):
            for update in content.config.update:
                record.parameters[update.key or ".".join(update.nested_key)] = json.loads(update.value_json)
            row = {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in content.history.item}
            step = int(row.get("trainer/global_step", -1))
            for name, value in row.items():
                if isinstance(value, int | float) and name.split("/")[0] in ("train", "val", "test", "probe", "speed"):
                    record.metrics[name][step] = value
                elif name.endswith("/filenames"):
                    record.pictures[name.removesuffix("/filenames")][step] = file.parent / "files" / value[0]
            if content.HasField("exit"):
                status = "failed" if content.exit.exit_code else "finished"
        found[identity] = record._replace(status=status)
    return list(found.values())


def _wandb_contents(file: Path) -> Iterator[Any]:
    """The file is a header of 7 bytes and records in blocks of 32 kB, as LevelDB's log."""
    wandb_internal_pb2: Any = importlib.import_module("wandb.proto.wandb_internal_pb2")
    data, position, whole = file.read_bytes(), 7, b""
    while position + 7 <= len(data):
        left = 32768 - position % 32768
        if left < 7:
            position += left
            continue
        _, size, kind = struct.unpack_from("<IHB", data, position)
        whole += data[position + 7 : position + 7 + size]
        position += 7 + size
        if kind in (1, 4):  # whole, or its last part
            content = wandb_internal_pb2.Record()
            content.ParseFromString(whole)
            yield content
            whole = b""


def mlflow_records(folder: Path) -> dict[str, list[Record]]:
    """All records of the local store by the runs' names, read in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", _READ_MLFLOW],
        cwd=folder,
        env=environment(folder.parent, reading=True),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = defaultdict(list)
    for name, status, parameters, metrics, artifacts in json.loads(done.stdout):
        pictures: dict[str, dict[int, Path]] = defaultdict(dict)
        for path in Path(artifacts).rglob("*.png"):
            tag, step = path.name.split("+")[0].replace("~", "/"), int(path.name.split("+")[2])
            pictures[tag][step] = path
        by_name = {key: {int(step): value for step, value in points} for key, points in metrics.items()}
        found[name].append(Record(status, parameters, by_name, pictures))
    return found


_READ_MLFLOW = """
import json
from mlflow.tracking import MlflowClient
client = MlflowClient("sqlite:///outputs/mlflow.db")
experiment = client.get_experiment_by_name("vae-lightning")
print(json.dumps([
    (run.info.run_name, run.info.status.lower(), run.data.params,
     {key: [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, key)] for key in run.data.metrics},
     run.info.artifact_uri)
    for run in client.search_runs([experiment.experiment_id])
]))
"""


def check_record(record: Record, run: Path, pictures: set[int] | None) -> None:
    """A record holds the run's curves, its configuration and, at so many steps, its pictures."""
    table = pd.read_csv(run / "metrics.csv")
    config = yaml.safe_load((run / ".hydra/config.yaml").read_text())
    assert record.status == "finished"
    assert set(record.metrics) - {"speed/images_per_second"} == set(table) - {"epoch", "step"}
    for name in set(table) - {"epoch", "step"}:
        points = table[["step", name]].dropna()
        expected = dict(zip(points["step"], points[name], strict=True))
        assert record.metrics[name] == pytest.approx(expected, rel=1e-6), name
    assert list(record.metrics["speed/images_per_second"]) == list(record.metrics["train/loss"])
    # Weights & Biases keeps the groups as they are, MLflow each value by its path, as text.
    if "data" in record.parameters:
        assert {name: record.parameters[name] for name in config} == config
    else:
        assert record.parameters["optimizer/lr"] == str(config["optimizer"]["lr"])
        assert record.parameters["model/latent_dim"] == str(config["model"]["latent_dim"])
        assert record.parameters["run_dir"] == config["run_dir"][:250]
    if pictures is not None:
        assert set(record.pictures) >= {f"visuals/{name}" for name in ("reconstructions", "samples", "traversals")}
        for tag, files in record.pictures.items():
            assert set(files) == pictures, tag
            assert all(file.read_bytes().startswith(b"\x89PNG") for file in files.values())


# Runs.


@pytest.fixture(scope="module")
def run(place: Path, train: Train) -> Path:
    """A run with all three trackers, killed after its second epoch and gone on with."""
    arguments = [*SHORT, *BOTH, "hydra.run.dir=run"]
    kill_after(2, place, *arguments, env=environment(place.parent))
    done = train(*arguments)
    assert done.returncode == 0, done.stderr
    assert "run resumes after epoch" in done.stdout
    assert done.stderr == ""
    return place / "run"


@pytest.mark.slow
def test_a_killed_run_goes_on_with_the_same_record(run: Path, place: Path) -> None:
    (of_wandb,), (of_mlflow,) = wandb_records(run), mlflow_records(place)["run"]
    for record in (of_wandb, of_mlflow):
        check_record(record, run, {16, 32, 48})


@pytest.mark.slow
def test_a_failed_run_is_marked_so_and_its_record_goes_on_when_it_is_tried_again(place: Path, train: Train) -> None:
    failing = [*SHORT, *BOTH, "hydra.run.dir=out", "optimizer.lr=1e30"]
    for _ in range(2):
        assert train(*failing).returncode == 2
        (of_wandb,), (of_mlflow,) = wandb_records(place / "out"), mlflow_records(place)["out"]
        assert of_wandb.status == of_mlflow.status == "failed"


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["stacked", "basic"])
def test_each_job_of_a_sweep_has_a_record_of_its_own(launcher: str, place: Path, train: Train) -> None:
    done = train(
        *("-m", *SHORT, *BOTH, f"hydra/launcher={launcher}", f"sweep.name={launcher}", "callbacks.figures=null"),
        *("optimizer.lr=1e-3,1e30,3e-3",),
    )
    assert done.returncode == 1
    assert ("stack 1 of 1: 3 models" in done.stdout) == (launcher == "stacked")
    sweep = place / "outputs/sweeps" / launcher
    of_mlflow = {
        record.parameters["run_dir"]: record
        for records in mlflow_records(place).values()
        for record in records
        if record.parameters["run_dir"].startswith(str(sweep))
    }
    assert len(of_mlflow) == 3
    for name in ("lr=0.001", "lr=0.003"):
        (of_wandb,) = wandb_records(sweep / name)
        for record in (of_wandb, of_mlflow[str(sweep / name)]):
            check_record(record, sweep / name, None)
    (of_wandb,) = wandb_records(sweep / "lr=1e+30")
    assert of_wandb.status == of_mlflow[str(sweep / "lr=1e+30")].status == "failed"


@pytest.mark.slow
def test_of_two_processes_the_first_writes(place: Path, train: Train) -> None:
    done = train(*SHORT, *BOTH, "trainer=ddp_cpu", "hydra.run.dir=two")
    assert done.returncode == 0, done.stderr
    (of_wandb,), (of_mlflow,) = wandb_records(place / "two"), mlflow_records(place)["two"]
    for record in (of_wandb, of_mlflow):
        check_record(record, place / "two", {16, 32, 48})
    assert len(list((place / "two").glob("events*.0"))) == 1


@pytest.mark.slow
def test_a_server_of_mlflow_has_the_record_and_the_terminal_says_where(
    place: Path, train: Train, tmp_path: Path
) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as free:
        port = free.getsockname()[1]
    server = ["server", "--port", str(port), "--workers", "1", "--backend-store-uri", "sqlite:///served.db"]
    options = {"cwd": tmp_path, "env": environment(tmp_path, reading=True), "stdout": subprocess.DEVNULL}
    with subprocess.Popen([sys.executable, "-m", "mlflow", *server], stderr=subprocess.DEVNULL, **options) as process:  # type: ignore[call-overload]
        try:
            url = f"http://127.0.0.1:{port}"
            for _ in range(100):
                with suppress(OSError), urllib.request.urlopen(f"{url}/health"):
                    break
                time.sleep(1)
            where = [f"logger.mlflow.tracking_uri={url}", "logger.mlflow.artifact_location=null"]
            done = train(*SHORT, "logger=mlflow", *where, "hydra.run.dir=outputs/served")
            assert done.returncode == 0, done.stderr
            (last,) = re.findall(rf"^monitor    {url}/#/experiments/1/runs/(\w+)\n\Z", done.stdout, re.MULTILINE)
            with urllib.request.urlopen(f"{url}/api/2.0/mlflow/runs/get?run_id={last}") as answer:
                record = json.load(answer)["run"]
        finally:
            process.terminate()
    assert record["info"]["status"] == "FINISHED"
    found = {metric["key"]: metric["value"] for metric in record["data"]["metrics"]}
    expected = json.loads((place / "outputs/served/metrics.json").read_text())
    # Without the run's summaries: the best epoch, and the mean time of a step.
    logged = {
        name: value
        for name, value in expected.items()
        if "/" in name and not name.startswith("best/") and name != "speed/step_seconds"
    }
    assert {name: found[name] for name in logged} == pytest.approx(logged, rel=1e-6)


def test_without_trackers_the_curves_are_there_all_the_same(command: Command, tmp_path: Path) -> None:
    done = command("train", *SHORT, "logger=none", "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    assert len(pd.read_csv(tmp_path / "run/metrics.csv")) == 4
    assert not [*(tmp_path / "run").rglob("*tfevents*")]


# What is refused.


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["logger=wandb"], "logger=wandb: must have a login: run wandb login, set WANDB_API_KEY, or use"),
        (
            ["logger=[wandb,mlflow]", "logger.wandb.offline=true", "logger.mlflow.tracking_uri=http://127.0.0.1:9"],
            "logger=mlflow: API request to http://127.0.0.1:9/",
        ),
        (["logger=wandb", "logger.wandb.offline=true", "+trainer.speed=3"], "trainer: Trainer refuses its arguments"),
    ],
)
def test_a_tracker_that_is_not_reached_is_refused_at_once(
    arguments: list[str], said: str, train: Train, place: Path
) -> None:
    done = train(*SHORT, *arguments, "hydra.run.dir=refused", timeout=60)  # not after minutes of trying
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {said}"), done.stderr
    assert done.stderr.count("\n") == 1
    assert not (place / "refused").exists()
