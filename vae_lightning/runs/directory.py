"""The files of a run directory."""

import json
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from omegaconf import MISSING

from vae_lightning.config.errors import InputError, one_line
from vae_lightning.trackers.event_files import EARLIER, event_files
from vae_lightning.whole_files import leftovers

__all__ = [
    "CONFIG",
    "CURVES",
    "ENVIRONMENT",
    "EVALUATION",
    "EXPORT",
    "FAILURE",
    "FIT",
    "JOB",
    "LATENTS",
    "METRICS",
    "PRUNED",
    "RETRIED",
    "TRACKERS",
    "TRIAL",
    "checkpoint_path",
    "clear",
    "find_checkpoint",
    "in_use",
    "job_folders",
    "locked",
    "read_json",
    "read_metrics",
    "run_folders",
    "stored_fit",
    "stored_metrics",
    "stored_tracker_ids",
]

log = logging.getLogger(__name__)

CONFIG = Path(".hydra/config.yaml")  # the run's configuration, every value resolved
ENVIRONMENT = Path("environment.json")
CURVES = Path("metrics.csv")
FIT = Path("fit.json")  # written when the fit has ended, with its metrics; only the test is left then
METRICS = Path("metrics.json")  # written last: if it is there, the run is complete
EVALUATION = Path("evaluation.json")
LATENTS = Path("latents.npz")  # written by vae-encode
EXPORT = Path("export")  # a folder: the networks in ONNX
TRACKERS = Path("trackers.json")  # each tracker's ID for the run
JOB = Path("job.json")  # in a sweep: the axes with their values in this job, the objective, a fingerprint
TRIAL = Path("trial.json")  # in a search, while the job's trial runs: where its objective is reported
PRUNED = Path("pruned.json")  # the number of epochs after which a search has ended the job, and of those planned
RETRIED = Path("retried.json")  # in a search: the number of the job's trial, and of that which has replaced it
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


def job_folders(sweep: Path) -> list[Path]:
    """Return the folders of a sweep's jobs, which may lie at any depth (``hydra.sweep.subdir``), in alphabetical order.

    They are recognised by their ``job.json``.
    """
    found = []
    for folder, folders, files in os.walk(sweep, followlinks=True):
        if JOB.name in files and Path(folder) != sweep:
            found.append(Path(folder))
            folders.clear()  # a job's own folders hold no jobs
    return sorted(found)


def run_folders(folder: Path) -> list[Path]:
    """Return the folders of the runs in a folder, at any depth, in alphabetical order; the folder may itself be a run.

    They are recognised by their configuration, or the ``job.json`` of a job that failed before it had one.
    """
    found = []
    for name, folders, files in os.walk(folder, followlinks=True):
        if JOB.name in files or (Path(name) / CONFIG).is_file():
            found.append(Path(name))
            folders.clear()  # a run's own folders hold no runs
    return sorted(found)


@contextmanager
def locked(run: Path) -> Iterator[None]:
    """Lock the run directory, so that no other process can write to it, and clear what killed writes have left in it.

    A killed process's lock has no effect.

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
        for part in leftovers(run):
            part.unlink(missing_ok=True)
        yield
    finally:
        (run / ".lock").unlink(missing_ok=True)
        lock.release()


def read_json(path: Path) -> dict[str, Any]:
    """Return the mapping in one of a run's JSON files.

    Raises:
        FileNotFoundError: if there is no such file.
        InputError: if the file is damaged.
    """
    try:
        content = json.loads(path.read_bytes())
        if not isinstance(content, dict):
            raise ValueError("it must hold a mapping")
    except FileNotFoundError:
        raise
    except (OSError, ValueError, RecursionError) as error:  # a folder, a text in no known encoding, no JSON
        raise InputError(f"{path}: is damaged ({one_line(error)}); run it again") from error
    return content


def read_metrics(run: Path) -> dict[str, float] | None:
    """Return the metrics of a complete run; None if the run is not complete.

    Raises:
        InputError: if the file is damaged.
    """
    try:
        metrics = read_json(run / METRICS)
    except FileNotFoundError:
        return None
    if not all(isinstance(value, int | float) for value in metrics.values()):
        raise InputError(f"{run / METRICS}: is damaged (it must hold numbers); run it again")
    return metrics


def stored_metrics(run: Path) -> dict[str, float] | None:
    """Return the metrics of a complete run; None if the run is not complete, or its metrics must be written again."""
    try:
        return read_metrics(run)
    except InputError as error:
        log.warning("%s", error)
        return None


def in_use(run: Path) -> bool:
    """Return whether another process has locked the run directory."""
    if not (run / ".lock").exists():
        return False
    try:
        with locked(run):
            return False
    except InputError:
        return True


def stored_tracker_ids(run: Path) -> dict[str, str]:
    """Return each tracker's ID for the run, by tracker name; empty if no tracker has been started."""
    stored = _readable(run / TRACKERS, "the trackers begin new records")
    return {name: str(known) for name, known in stored.items()}


def stored_fit(run: Path) -> dict[str, Any]:
    """Return the content of ``fit.json``; empty if the fit has not ended."""
    return _readable(run / FIT, "the end of the fit is repeated")


def _readable(path: Path, otherwise: str) -> dict[str, Any]:
    """Return the mapping in a JSON file; empty if there is none, or if it is damaged, which is logged."""
    try:
        return read_json(path)
    except FileNotFoundError:
        return {}
    except InputError as error:
        log.warning("%s; %s", error, otherwise)
        return {}


def clear(run: Path) -> None:
    """Remove everything that a run writes, and nothing else."""
    for name in ("checkpoints", "figures", "projector", EARLIER, EXPORT):
        shutil.rmtree(run / name, ignore_errors=True)
    outcomes = (METRICS, PRUNED, RETRIED, FAILURE)
    of_tensorboard: tuple[str | Path, ...] = ("projector_config.pbtxt", "hparams.yaml", *event_files(run))
    for file in (*outcomes, *of_tensorboard, FIT, ENVIRONMENT, EVALUATION, LATENTS, TRACKERS, CONFIG, CURVES):
        (run / file).unlink(missing_ok=True)
