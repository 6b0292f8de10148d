"""The files of a run directory."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from omegaconf import MISSING

from vae_lightning.config.errors import InputError

__all__ = [
    "CONFIG",
    "CURVES",
    "ENVIRONMENT",
    "EVALUATION",
    "EXPORT",
    "FAILURE",
    "FIT",
    "JOB",
    "METRICS",
    "TRACKERS",
    "checkpoint_path",
    "clear",
    "find_checkpoint",
    "locked",
    "stored_metrics",
    "stored_tracker_ids",
]

CONFIG = Path(".hydra/config.yaml")  # the run's configuration, every value resolved
ENVIRONMENT = Path("environment.json")
CURVES = Path("metrics.csv")
FIT = Path("fit.json")  # written when the fit has ended, with its metrics; only the test is left then
METRICS = Path("metrics.json")  # written last: if it is there, the run is complete
EVALUATION = Path("evaluation.json")
EXPORT = Path("export")  # a folder: the networks in ONNX
TRACKERS = Path("trackers.json")  # each tracker's ID for the run
JOB = Path("job.json")  # in a sweep: the axes with their values in this job, the objective, a fingerprint
FAILURE = Path("failure.json")  # why a sweep's job ended without metrics.json; the traceback is in train.log


def checkpoint_path(run: Path, which: str) -> Path:
    """Return the path of the run's ``last``, ``previous`` or ``best`` checkpoint."""
    return run / "checkpoints" / f"{which}.ckpt"


def find_checkpoint(run: Path, which: str) -> Path:
    """Return the path of an existing run's ``last``, ``previous`` or ``best`` checkpoint.

    Raises:
        InputError: if the run or the checkpoint does not exist, or no folder was given.
    """
    if str(run) == MISSING:
        raise InputError("run: must be a run directory, e.g. run=outputs/runs/2026-01-31_12-00-00")
    checkpoint = checkpoint_path(run, which)
    for file in (run / CONFIG, checkpoint):
        if not file.is_file():
            raise InputError(f"run={run}: must be a run directory, but {file} does not exist")
    return checkpoint


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Lock the run directory, so that no other process can write to it; a killed process's lock has no effect.

    Raises:
        InputError: if another process uses the run directory.
    """
    run.mkdir(parents=True, exist_ok=True)
    lock = FileLock(run / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise InputError(f"{run}: another process is using it; wait for it, or choose another folder") from error
    try:
        yield
    finally:
        (run / ".lock").unlink(missing_ok=True)
        lock.release()


def stored_tracker_ids(run: Path) -> dict[str, str]:
    """Return each tracker's ID for the run, by tracker name; empty if no tracker has been started."""
    known: dict[str, str] = json.loads((run / TRACKERS).read_text()) if (run / TRACKERS).exists() else {}
    return known


def stored_metrics(run: Path) -> dict[str, float] | None:
    """Return the metrics of a complete run; None if the run is not complete."""
    try:
        metrics: dict[str, float] = json.loads((run / METRICS).read_text())
    except FileNotFoundError:
        return None
    return metrics


def clear(run: Path) -> None:
    """Remove everything that a run writes, and nothing else."""
    for name in ("checkpoints", "tensorboard", "figures", EXPORT):
        shutil.rmtree(run / name, ignore_errors=True)
    for file in (METRICS, FIT, ENVIRONMENT, EVALUATION, TRACKERS, FAILURE, CONFIG, CURVES, "hparams.yaml"):
        (run / file).unlink(missing_ok=True)
