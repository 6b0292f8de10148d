"""A run directory: what it holds, and files that are there whole or not at all."""

import io
import json
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from filelock import FileLock, Timeout
from omegaconf import MISSING, OmegaConf

from vae_lightning.checks import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "CONFIG",
    "CURVES",
    "ENVIRONMENT",
    "EVALUATION",
    "EXPORT",
    "FAILURE",
    "JOB",
    "METRICS",
    "TRACKERS",
    "check_same",
    "checkpoint_path",
    "claimed",
    "clear",
    "cores",
    "differences",
    "environment",
    "find_checkpoint",
    "known_identities",
    "moved",
    "read_config",
    "stored_metrics",
    "write_figure",
    "write_file",
    "write_json",
]

CONFIG = Path(".hydra/config.yaml")  # what ran, every value resolved
ENVIRONMENT = Path("environment.json")
CURVES = Path("metrics.csv")
METRICS = Path("metrics.json")  # written last: if it is there, the run is complete
EVALUATION = Path("evaluation.json")
EXPORT = Path("export")  # a folder: the networks in ONNX
TRACKERS = Path("trackers.json")  # under what identity a tracker's server knows the run
JOB = Path("job.json")  # of a sweep: what varies and its value here
FAILURE = Path("failure.json")  # why a sweep's job ended without metrics.json; the traceback is in train.log

# What engines call a job, or the part of a cluster that it is on.
ENGINE_VARIABLES = ("RAY_RAYLET_PID", "SLURM_JOB_ID", "SUBMITIT_LOCAL_JOB_ID")

# What has no influence on a run's numbers.
_BESIDE_THE_POINT = ("run_dir", "restart", "resume", "sweep", "data.root", "data.mirror", "logger")


def checkpoint_path(run: Path, which: str) -> Path:
    """Where the run's ``last``, ``previous`` or ``best`` checkpoint is."""
    return run / "checkpoints" / f"{which}.ckpt"


def find_checkpoint(run: Path, which: str) -> Path:
    """The same, of a run that is there.

    Raises:
        InputError: if it is not, or no folder was given.
    """
    if str(run) == MISSING:
        raise InputError("run: must be a run directory, e.g. run=outputs/runs/2026-01-31_12-00-00")
    checkpoint = checkpoint_path(run, which)
    for file in (run / CONFIG, checkpoint):
        if not file.is_file():
            raise InputError(f"run={run}: must be a run directory, and {file} is not there")
    return checkpoint


@contextmanager
def claimed(run: Path) -> Iterator[None]:
    """Within it no other process can write to the run directory; a lock that a killed process held is void.

    Raises:
        InputError: if another process is at work in it.
    """
    run.mkdir(parents=True, exist_ok=True)
    lock = FileLock(run / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise InputError(f"{run}: another process is at work in it; wait for it, or choose another folder") from error
    try:
        yield
    finally:
        (run / ".lock").unlink(missing_ok=True)
        lock.release()


def write_file(path: Path, content: str | bytes) -> None:
    """Write a file so that a crash leaves the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name of its own, for a sweep's parallel jobs, on several machines too, may write the same file.
    part = path.with_name(f"{path.name}.{uuid4().hex[:8]}.part")
    try:
        with part.open("wb") as file:
            file.write(content if isinstance(content, bytes) else content.encode())
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except OSError:
        part.unlink(missing_ok=True)
        raise


def write_figure(path: Path, figure: "Figure") -> bytes:
    """Write a picture as PNG, as :func:`write_file` does; return the file's content."""
    content = io.BytesIO()
    figure.savefig(content, format="png")
    write_file(path, content.getvalue())
    return content.getvalue()


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a mapping as readable JSON, as :func:`write_file` does."""
    write_file(path, json.dumps(content, indent=2) + "\n")


def read_config(run: Path) -> dict[str, Any]:
    """The configuration that a run was started with, as plain values.

    Raises:
        InputError: if the file is not what a run writes.
    """
    try:
        config = OmegaConf.to_container(OmegaConf.load(run / CONFIG))
    except Exception as error:  # a YAML parser's errors have no common base that OmegaConf names
        raise InputError(f"{run / CONFIG}: cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(config, dict) or not {"data", "model", "callbacks"} <= set(config):
        raise InputError(f"{run / CONFIG}: must have data, model and callbacks, as vae-train writes it")
    return {str(key): value for key, value in config.items()}


def known_identities(run: Path) -> dict[str, str]:
    """By the trackers' names, under what identity they know a run; nothing if it has not told them of itself."""
    known: dict[str, str] = json.loads((run / TRACKERS).read_text()) if (run / TRACKERS).exists() else {}
    return known


def stored_metrics(run: Path) -> dict[str, float] | None:
    """The numbers of a complete run; None if it is not complete."""
    try:
        metrics: dict[str, float] = json.loads((run / METRICS).read_text())
    except FileNotFoundError:
        return None
    return metrics


def differences(there: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What two configurations differ in, e.g. ``latent_dim: 20, now 10``; not what has no influence on numbers."""
    left, right = (dict(_leaves(moved(config, "."))) for config in (there, now))  # folders may be moved
    keys = sorted(left.keys() | right.keys())
    return [
        f"{key}: {left.get(key, 'not there')}, now {right.get(key, 'not there')}"
        for key in keys
        if left.get(key, ...) != right.get(key, ...)
    ]


def check_same(run: Path, config: Mapping[str, Any]) -> None:
    """Refuse a folder that holds a run of another configuration.

    Raises:
        InputError: with the difference.
    """
    if (run / CONFIG).exists() and not config["restart"]:
        changed = differences(read_config(run), config)
        if changed:
            raise InputError(
                f"{run}: holds a run of another configuration ({'; '.join(changed)}); choose another folder, "
                "or start it over with restart=true"
            )


def clear(run: Path) -> None:
    """Take away all that a run writes, and nothing else."""
    for name in ("checkpoints", "tensorboard", "figures", EXPORT):
        shutil.rmtree(run / name, ignore_errors=True)
    for file in (METRICS, ENVIRONMENT, EVALUATION, TRACKERS, FAILURE, CONFIG, CURVES, "hparams.yaml"):
        (run / file).unlink(missing_ok=True)


def environment() -> dict[str, Any]:
    """What a number may depend on beside the configuration: versions, source, machine, command."""
    import torch

    packages = ("vae-lightning", "torch", "torchvision", "lightning", "hydra-core", "numpy")
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "directory": os.getcwd(),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in packages}},
        "git": {"commit": _git("rev-parse", "HEAD"), "changes": _git("status", "--porcelain")},
        "process": os.getpid(),
        "engine": {name: os.environ[name] for name in ENGINE_VARIABLES if name in os.environ},
        "machine": {
            "host": platform.node(),
            "platform": platform.platform(),
            "processor": _processor(),
            "cores": cores(),
            "threads": torch.get_num_threads(),
            "gpus": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
        },
    }


def cores() -> int:
    """The CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _version(package: str) -> str | None:
    # A source tree on the path has no metadata.
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    """What git says of the package's own source; None where that is no checkout."""
    source = Path(__file__).parent
    with suppress(OSError, subprocess.SubprocessError):
        tracked = subprocess.run(
            ["git", "ls-files", "--error-unmatch", __file__], cwd=source, capture_output=True, timeout=10
        )
        if tracked.returncode == 0:
            said = subprocess.run(
                ["git", *arguments], cwd=source, capture_output=True, text=True, timeout=10, check=True
            )
            return said.stdout.strip()
    return None


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()


def moved(config: Mapping[str, Any], folder: str) -> dict[str, Any]:
    """The configuration of a run with another folder in the place of its run directory."""
    old, new = json.dumps(str(config.get("run_dir")))[1:-1], json.dumps(folder)[1:-1]
    changed = json.dumps(config).replace(f'"{old}/', f'"{new}/').replace(f'"{old}"', f'"{new}"')
    return dict(json.loads(changed))


def _leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if path in _BESIDE_THE_POINT:
        return
    if isinstance(node, Mapping) and node:
        for key, child in node.items():
            yield from _leaves(child, f"{path}.{key}".lstrip("."))
    else:
        yield path, node
