"""A run's records in TensorBoard, Weights & Biases and MLflow: start, resume and end them."""

import logging
import os
import shlex
import time
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from filelock import FileLock
from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger

from vae_lightning.config.errors import InputError, one_line
from vae_lightning.config.targets import build
from vae_lightning.trackers.event_files import EARLIER, event_files

__all__ = ["begin_trackers", "end_trackers", "monitors", "tracker_ids"]

# Trackers print only errors, so that the terminal's output stays the same, and send no telemetry.
QUIET = {
    "WANDB_SILENT": "true",
    "WANDB_ERROR_REPORTING": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
# For the first contact with a server; later, the server may be unreachable for minutes.
FIRST_CONTACT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}


def begin_trackers(nodes: Mapping[str, Any], known: Mapping[str, str], purge_step: int | None) -> dict[str, Logger]:
    """Build the loggers of a configuration and start or resume a record with each; return the loggers by name.

    Arguments:
        nodes: by name, ``_target_`` and its arguments; None stands for no logger.
        known: by name, the ID of the record that the run already has.
        purge_step: for a run that resumes, the optimiser step from which TensorBoard hides the earlier points. Its
            record in TensorBoard goes on in the folder that it has.

    Raises:
        InputError: if a logger cannot be built, its server cannot be reached, or its login is missing.
    """
    for variable, value in QUIET.items():
        os.environ.setdefault(variable, value)
    # Its warning that it creates an experiment is expected.
    logging.getLogger("lightning.pytorch.loggers.mlflow").setLevel(logging.ERROR)
    given = {name: dict(node) for name, node in nodes.items() if node}
    for name, node in given.items():
        node |= {key: known[name] for key in ("id", "run_id") if key in node and name in known}
        if "purge_step" in node and purge_step is not None:
            node["purge_step"] = purge_step
            if node.get("name") == "" and event_files(Path(str(node.get("save_dir"))) / EARLIER):
                node["name"] = EARLIER
    begun: dict[str, Logger] = {}
    try:
        # Servers first, because local trackers write to disk at once and a server may yet refuse.
        for name in sorted(given, key=lambda name: not _is_remote(given[name])):
            begun[name] = _begin(name, given[name])
    except InputError:
        end_trackers(begun.values(), failed=True)
        raise
    return {name: begun[name] for name in given}


def _is_remote(node: Mapping[str, Any]) -> bool:
    return str(node.get("tracking_uri")).startswith("http") or node.get("offline") is False


def _begin(name: str, node: Mapping[str, Any]) -> Logger:
    before = dict(os.environ)
    for variable, value in FIRST_CONTACT.items():
        os.environ.setdefault(variable, value)
    try:
        with _database_lock(node):
            logger = build(f"logger.{name}", node, Logger)  # type: ignore[type-abstract]
            if isinstance(logger, TensorBoardLogger):
                _put_before_now(Path(logger.log_dir))
            if isinstance(logger, MLFlowLogger):
                resumes = logger._run_id is not None
                client = logger.experiment
                if resumes:
                    client.update_run(logger.run_id, "RUNNING")
            elif isinstance(logger, WandbLogger):
                _begin_wandb(logger)
    except InputError:
        raise
    except Exception as error:  # each tracker raises errors of its own
        raise InputError(f"logger={name}: {one_line(error)}") from error
    finally:
        for variable in FIRST_CONTACT.keys() - before.keys():
            del os.environ[variable]
    return logger


def _put_before_now(folder: Path) -> None:
    """Rename TensorBoard's files so that a new one comes after them, although the clock may have been put back.

    TensorBoard reads the files in the order of their names, which begin with the second of their creation.
    """
    latest = int(time.time()) - 1
    for file in reversed(event_files(folder)):
        *start, second, rest = file.name.split(".", 4)
        if second.isdecimal() and int(second) > latest:
            file.rename(folder / ".".join([*start, f"{latest:010}", rest]))
            latest -= 1


def _database_lock(node: Mapping[str, Any]) -> AbstractContextManager[object]:
    """Return a lock on a local database, because each of several concurrent jobs would create the same tables."""
    uri = str(node.get("tracking_uri"))
    if not uri.startswith("sqlite:///"):
        return nullcontext()
    database = Path(uri.removeprefix("sqlite:///"))
    database.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(database.with_name(f".{database.name}.lock"))


def _begin_wandb(logger: WandbLogger) -> None:
    import wandb

    # The default is in the user's home.
    os.environ.setdefault("WANDB_CACHE_DIR", os.path.abspath(Path(logger.save_dir or ".") / "wandb/cache"))
    if logger._offline:
        os.environ["WANDB_MODE"] = "offline"
    online = os.environ.get("WANDB_MODE", "online") in ("online", "run")
    if online and not wandb.login(prompt=False):
        raise InputError(
            "logger=wandb: must have a login: run wandb login, set WANDB_API_KEY, or use logger.wandb.offline=true"
        )
    wandb.setup()  # otherwise wandb prints before it has read WANDB_SILENT
    _ = logger.experiment


def tracker_ids(loggers: Mapping[str, Logger]) -> dict[str, str]:
    """Return each tracker's ID for the run, by tracker name; :func:`begin_trackers` resumes the records with them."""
    return {
        name: str(logger.version) for name, logger in loggers.items() if isinstance(logger, MLFlowLogger | WandbLogger)
    }


def monitors(loggers: Iterable[Logger]) -> list[str]:
    """Return the commands or addresses that show the records; paths are relative to the current folder."""
    found = []
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            found.append(f"tensorboard --logdir {shlex.quote(os.path.relpath(logger.save_dir))}")
        elif isinstance(logger, MLFlowLogger):
            uri = logger._tracking_uri
            record = f"{uri}/#/experiments/{logger.experiment_id}/runs/{logger.run_id}"
            found.append(record if uri.startswith("http") else f"mlflow ui --backend-store-uri {shlex.quote(uri)}")
        elif isinstance(logger, WandbLogger):
            run = logger.experiment
            records = shlex.quote(os.path.relpath(Path(run.dir).parents[1]))
            found.append(run.url or f"wandb sync {records}/offline-run-*-{run.id}")
    return found


def end_trackers(loggers: Iterable[Logger], failed: bool) -> None:
    """End each record as finished or failed, so that the next run in the same process gets its own."""
    for logger in loggers:
        if isinstance(logger, WandbLogger) and logger._experiment is not None:
            logger._experiment.finish(exit_code=int(failed))
        elif isinstance(logger, MLFlowLogger):
            logger.finalize("failed" if failed else "success")
