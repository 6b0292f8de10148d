"""What TensorBoard, Weights & Biases and MLflow are told beside the metrics that the Trainer logs."""

import logging
import os
import shlex
import shutil
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from filelock import FileLock
from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from omegaconf import OmegaConf
from torch import Tensor
from torch.utils.tensorboard.summary import hparams
from torchvision.transforms.functional import to_pil_image

from vae_lightning.checks import InputError
from vae_lightning.targets import build

__all__ = [
    "begin_trackers",
    "end_trackers",
    "identities",
    "monitors",
    "show_config",
    "show_embedding",
    "show_histogram",
    "show_image",
    "show_result",
]

# TensorBoard's "custom scalars": what belongs together in one chart.
_STAGES = ("train", "val", "test")
LAYOUT = {
    "loss, nats per image": {
        title: ["Multiline", [f"^{stage}/{term}$" for stage in _STAGES]]
        for title, term in {"loss = -ELBO": "loss", "reconstruction": "recon", "KL": "kl"}.items()
    },
    "latents": {
        "probe accuracy": ["Multiline", [f"^probe/{stage}_acc$" for stage in _STAGES]],
        "active units": ["Multiline", [f"^{stage}/active_units$" for stage in _STAGES]],
    },
    "training": {
        "gradient norm": ["Multiline", ["^train/gradient_norm$"]],
        "learning rate": ["Multiline", ["^train/lr$"]],
        "images per second": ["Multiline", ["^speed/images_per_second$"]],
    },
}

# Nothing but errors in the terminal, whose output stays as it is, and nothing sent home.
QUIET = {
    "WANDB_SILENT": "true",
    "WANDB_ERROR_REPORTING": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
# For the first word with a server; later it may be away for minutes.
IMPATIENT = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}


def begin_trackers(nodes: Mapping[str, Any], known: Mapping[str, str], purge_step: int | None) -> dict[str, Logger]:
    """The loggers of a configuration by their names, each with a record that is begun, or goes on.

    Arguments:
        nodes: by name, ``_target_`` and its arguments; None is no logger.
        known: by name, the identity of the record that a run has already.
        purge_step: of a run that goes on the optimiser step from which TensorBoard is to draw anew.

    Raises:
        InputError: if a logger cannot be made, its server is not reached, or its login is missing.
    """
    for variable, value in QUIET.items():
        os.environ.setdefault(variable, value)
    logging.getLogger("lightning.pytorch.loggers.mlflow").setLevel(logging.ERROR)  # it made an experiment: it was to
    given = {name: dict(node) for name, node in nodes.items() if node}
    for name, node in given.items():
        node |= {key: known[name] for key in ("id", "run_id") if key in node and name in known}
        if "purge_step" in node and purge_step is not None:
            node["purge_step"] = purge_step
    begun: dict[str, Logger] = {}
    try:
        # Servers first: what is local writes at once.
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
    for variable, value in IMPATIENT.items():
        os.environ.setdefault(variable, value)
    try:
        with _store(node):
            logger = build(f"logger.{name}", node, Logger)  # type: ignore[type-abstract]
            if isinstance(logger, MLFlowLogger):
                goes_on = logger._run_id is not None
                client = logger.experiment
                if goes_on:
                    client.update_run(logger.run_id, "RUNNING")
            elif isinstance(logger, WandbLogger):
                _begin_wandb(logger)
    except InputError:
        raise
    except Exception as error:  # of each tracker's own kind
        raise InputError(f"logger={name}: {' '.join(str(error).split())}") from error
    finally:
        for variable in IMPATIENT.keys() - before.keys():
            del os.environ[variable]
    return logger


def _store(node: Mapping[str, Any]) -> AbstractContextManager[object]:
    """Within it no other process begins with the same local store: of several jobs each would make its tables."""
    place = str(node.get("tracking_uri"))
    if not place.startswith("sqlite:///"):
        return nullcontext()
    database = Path(place.removeprefix("sqlite:///"))
    database.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(database.with_name(f".{database.name}.lock"))


def _begin_wandb(logger: WandbLogger) -> None:
    import wandb

    # By itself it would be in the user's home.
    os.environ.setdefault("WANDB_CACHE_DIR", os.path.abspath(Path(logger.save_dir or ".") / "wandb/cache"))
    if logger._offline:
        os.environ["WANDB_MODE"] = "offline"
    online = os.environ.get("WANDB_MODE", "online") in ("online", "run")
    if online and not wandb.login(prompt=False):
        raise InputError(
            "logger=wandb: no login is found: wandb login, or WANDB_API_KEY; or logger.wandb.offline=true without one"
        )
    wandb.setup()  # else it would speak before it knows that it is to be silent
    _ = logger.experiment


def identities(loggers: Mapping[str, Logger]) -> dict[str, str]:
    """By name, under what a tracker's server knows the run; for :func:`begin_trackers` when it goes on."""
    return {
        name: str(logger.version) for name, logger in loggers.items() if isinstance(logger, MLFlowLogger | WandbLogger)
    }


def show_config(loggers: Iterable[Logger], config: Mapping[str, Any], goes_on: bool) -> None:
    """The configuration: as text, and a layout for the curves, in TensorBoard; as parameters elsewhere.

    Arguments:
        loggers: those of others are passed over.
        config: every value resolved.
        goes_on: whether TensorBoard has it already; of others a killed run does not know.
    """
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            if not goes_on:
                lines = OmegaConf.to_yaml(dict(config)).splitlines()
                logger.experiment.add_text("config", "\n".join(f"    {line}" for line in lines), 0)
                logger.experiment.add_custom_scalars(LAYOUT)
                logger.save()
        elif isinstance(logger, WandbLogger) or (isinstance(logger, MLFlowLogger) and not _parameters(logger)):
            logger.log_hyperparams(dict(config))


def _parameters(logger: MLFlowLogger) -> Mapping[str, str]:
    """What the record has already: MLflow lets nobody change it."""
    parameters: Mapping[str, str] = logger.experiment.get_run(logger.run_id).data.params
    return parameters


def show_image(loggers: Iterable[Logger], tag: str, image: Tensor, step: int) -> None:
    """A picture.

    Arguments:
        loggers: those that show no pictures are passed over.
        tag: its name, the same at every step.
        image: ``(C, H, W)``, in [0, 1].
        step: the optimiser step that it is of.
    """
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(tag, image, step)
        elif isinstance(logger, WandbLogger):
            logger.log_image(tag, [to_pil_image(image)], step)
        elif isinstance(logger, MLFlowLogger):
            logger.experiment.log_image(logger.run_id, to_pil_image(image), key=tag, step=step, synchronous=True)


def show_histogram(loggers: Iterable[Logger], tag: str, values: Tensor, step: int) -> None:
    """A histogram of values ``(N,)``, in TensorBoard and Weights & Biases; arguments as of :func:`show_image`."""
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_histogram(tag, values, step)
        elif isinstance(logger, WandbLogger):
            import wandb

            histogram: Any = wandb.Histogram(values.tolist())
            logger.log_metrics({tag: histogram}, step)


def show_embedding(
    loggers: Iterable[Logger], tag: str, points: Tensor, labels: Tensor, images: Tensor, step: int
) -> None:
    """Points in TensorBoard's projector, with labels and thumbnails.

    Arguments:
        loggers: all but TensorBoard's are passed over.
        tag: their name.
        points: ``(N, D)``.
        labels: ``(N,)``.
        images: ``(N, C, H, W)``, in [0, 1].
        step: the optimiser step that they are of.
    """
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            # Of a test that is done again: torch would print that they are there.
            shutil.rmtree(Path(logger.log_dir) / str(step).zfill(5), ignore_errors=True)
            logger.experiment.add_embedding(points, labels.tolist(), images, step, tag)


def show_result(loggers: Iterable[Logger], hyperparameters: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
    """For TensorBoard's HParams: what a run is to be told from others by; its metrics are the curves' last points."""
    names = [name for name in ("val/loss", "probe/val_acc", "probe/train_acc") if name in metrics]
    plain = {name: value if isinstance(value, int | float) else str(value) for name, value in hyperparameters.items()}
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            # Lightning's log_hyperparams would draw the metrics once more.
            for summary in hparams(plain, dict.fromkeys(names)):
                logger.experiment._get_file_writer().add_summary(summary)
            logger.finalize("success")


def monitors(loggers: Iterable[Logger]) -> list[str]:
    """The commands or addresses by which a user sees the records, from the folder that the process is in."""
    found = []
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            found.append(f"tensorboard --logdir {shlex.quote(os.path.relpath(logger.save_dir))}")
        elif isinstance(logger, MLFlowLogger):
            place = logger._tracking_uri
            record = f"{place}/#/experiments/{logger.experiment_id}/runs/{logger.run_id}"
            found.append(record if place.startswith("http") else f"mlflow ui --backend-store-uri {shlex.quote(place)}")
        elif isinstance(logger, WandbLogger):
            run = logger.experiment
            records = shlex.quote(os.path.relpath(Path(run.dir).parents[1]))
            found.append(run.url or f"wandb sync {records}/offline-run-*-{run.id}")
    return found


def end_trackers(loggers: Iterable[Logger], failed: bool) -> None:
    """End each record, as finished or failed; the next run of the same process has its own."""
    for logger in loggers:
        if isinstance(logger, WandbLogger) and logger._experiment is not None:
            logger._experiment.finish(exit_code=int(failed))
        elif isinstance(logger, MLFlowLogger):
            logger.finalize("failed" if failed else "success")
