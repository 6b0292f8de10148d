"""vae-train: one run, from a configuration to a run directory."""

import logging
import os
import time
import warnings
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, TypeVar

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from vae_lightning.checks import InputError, check_config, check_trackers
from vae_lightning.command import resolved, run_command
from vae_lightning.processes import check_processes, launch, local_devices, rank, started_outside, world_size
from vae_lightning.run_directory import (
    CONFIG,
    CURVES,
    ENVIRONMENT,
    FAILURE,
    METRICS,
    TRACKERS,
    check_same,
    checkpoint_path,
    claimed,
    clear,
    environment,
    known_identities,
    moved,
    read_config,
    stored_metrics,
    write_file,
    write_json,
)
from vae_lightning.sweep import axis_values, run_job

__all__ = ["main", "train"]

log = logging.getLogger(__name__)

# By which HParams tells a run from others that is no part of a sweep.
HYPERPARAMETERS = ("model.latent_dim", "optimizer.lr", "data.batch_size", "trainer.max_epochs", "seed")

T = TypeVar("T")


def main() -> None:
    """The console script."""
    run_command(_task, "train")


def _task(cfg: DictConfig) -> float | None:
    hydra = HydraConfig.get()
    if hydra.mode == RunMode.MULTIRUN:
        return run_job(cfg, train)
    folder_given = any(override.startswith("hydra.run.dir=") for override in hydra.overrides.hydra)
    if world_size() > 1 and not folder_given:
        raise InputError("hydra.run.dir: must be given when several processes are started, for they share the folder")
    return train(stored_run(cfg) if cfg.resume is not None else cfg).get(cfg.sweep.objective)


def stored_run(cfg: DictConfig) -> DictConfig:
    """The configuration of the run in ``cfg.resume``, as it was stored there.

    Raises:
        InputError: if there is no run, or anything else is to be changed.
    """
    others = [override for override in HydraConfig.get().overrides.task if not override.startswith("resume=")]
    if others:
        raise InputError(f"resume={cfg.resume}: must stand alone, for the run's own configuration is used: {others[0]}")
    run = Path(cfg.resume)
    if not (run / CONFIG).is_file():
        raise InputError(f"resume={run}: must be a run directory, and {run / CONFIG} is not there")
    stored = read_config(run)
    return OmegaConf.create(moved(stored, str(run.resolve())) | {"restart": False})


def train(cfg: DictConfig) -> dict[str, float]:
    """Train, test and probe a model as ``conf/train.yaml`` says, and write everything to ``cfg.run_dir``.

    In a folder that holds a run of the same configuration already, a complete one is left as it is, and one that was
    cut off goes on from its last checkpoint. For several devices a process each is started, if torchrun or SLURM have
    not done so.

    Returns:
        The content of ``metrics.json``: losses in nats per image, accuracies in [0, 1], times in seconds.

    Raises:
        InputError: if the configuration cannot be run; nothing has been written then.
        FloatingPointError: if the model diverges; the last checkpoint is of the epoch before.
        Interrupted: on SIGINT and SIGTERM.
    """
    config = resolved(cfg)
    check_config(config)
    check_trackers(config["logger"])
    check_processes(config)
    run = Path(config["run_dir"])
    check_same(run, config)
    stored = stored_metrics(run) if (run / CONFIG).exists() and not config["restart"] else None
    if stored is not None:
        log.info("%s is complete", os.path.relpath(run))
        return stored
    if local_devices(config["trainer"]) > 1 and not started_outside():
        return launch(config)
    with claimed(run) if rank() == 0 else nullcontext():
        return _train(config)


def _train(config: Mapping[str, Any]) -> dict[str, float]:
    # Only now, since they take seconds to import.
    import lightning.pytorch as pl

    from vae_lightning.checkpoints import SafeCheckpointIO, checkpoints
    from vae_lightning.interruption import Interruption
    from vae_lightning.targets import build
    from vae_lightning.trackers import end_trackers, monitors

    began = time.perf_counter()
    run = Path(config["run_dir"])
    quiet()
    pl.seed_everything(config["seed"], verbose=False)  # for models and callbacks of others; ours have their own streams
    data = build("data", config["data"], pl.LightningDataModule)
    model = build_model(config, data, pl.LightningModule)
    callbacks = list(build_callbacks(config).values())
    goes_on = (run / CONFIG).exists() and not config["restart"]
    resumed, state = next(checkpoints(run), (None, None)) if goes_on else (None, None)
    if rank() == 0:
        data.prepare_data()
        data.setup("fit")
    trainer = build(
        "trainer",
        config["trainer"],
        pl.Trainer,
        callbacks=[*callbacks, Interruption()],
        logger=False,
        plugins=[SafeCheckpointIO()],
        default_root_dir=run,
    )
    # Last of all that may be refused, and of the first process alone, for it writes.
    loggers = begin_loggers(config, state) if rank() == 0 else {}
    trainer.loggers = [*loggers.values()]
    try:
        if rank() == 0:
            if state is not None:
                log.info("%s was cut off: it goes on after epoch %d", os.path.relpath(run), state["epoch"] + 1)
            begin(config, environment(), loggers, goes_on=state is not None)
        prepared = time.perf_counter()
        trainer.fit(model, datamodule=data, ckpt_path=resumed, weights_only=True)
        fitted = time.perf_counter()
        found = dict(trainer.callback_metrics)
        trainer.test(model, datamodule=data, verbose=False)
        metrics = known_metrics(found | trainer.callback_metrics, callbacks) | {
            "epochs": trainer.current_epoch,
            "fit_seconds": round(fitted - prepared, 3),
            "total_seconds": round(time.perf_counter() - began, 3),
        }
        if rank() == 0:
            axes = config["sweep"]["axes"] or HYPERPARAMETERS
            finish(config, metrics, loggers, axis_values(axes, OmegaConf.create(dict(config))))
            print(closing_table(metrics, Path(os.path.relpath(run)), monitors(loggers.values())))
    except BaseException:
        end_trackers(loggers.values(), failed=True)
        raise
    end_trackers(loggers.values(), failed=False)
    return metrics


# What one run and the runs of a stack have in common.


def build_model(config: Mapping[str, Any], data: object, base: type[T]) -> T:
    """A configuration's model; a null in ``model.image_shape`` is the shape of the data's images.

    Raises:
        InputError: if it cannot be built, or is made for images of another shape.
    """
    from vae_lightning.targets import build

    node, shape = config["model"], getattr(data, "image_shape", None)
    if shape is None:  # data of another kind
        return build("model", node, base)
    if node.get("image_shape", shape) is None:
        node = {**node, "image_shape": list(shape)}
    model = build("model", node, base)
    found = getattr(model, "image_shape", shape)
    if tuple(found) != tuple(shape):
        raise InputError(f"model.image_shape={list(found)}: must be {list(shape)}, the data's, or null")
    return model


def build_callbacks(config: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration's callbacks by their names, but those that watch validation where there is none."""
    from lightning.pytorch import Callback

    from vae_lightning.targets import build

    callbacks = {}
    for name, node in config["callbacks"].items():
        if config["data"].get("val_size") == 0 and str((node or {}).get("monitor", "")).startswith("val/"):
            log.info("callbacks.%s is left out: it watches %s, and data.val_size is 0", name, node["monitor"])
        elif node:
            callbacks[name] = build(f"callbacks.{name}", node, Callback)
    return callbacks


def begin_loggers(config: Mapping[str, Any], checkpoint: Mapping[str, Any] | None) -> dict[str, Any]:
    """A configuration's loggers by name; what was drawn at and after the checkpoint's step is to be drawn anew."""
    from vae_lightning.trackers import begin_trackers

    known = {} if config["restart"] else known_identities(Path(config["run_dir"]))
    return begin_trackers(config["logger"], known, checkpoint["global_step"] if checkpoint else None)


def begin(config: Mapping[str, Any], environment: Mapping[str, Any], loggers: Mapping[str, Any], goes_on: bool) -> None:
    """Write what a run directory holds from the first step on, in the place of another run if that does not go on."""
    from vae_lightning.trackers import identities, show_config

    run = Path(config["run_dir"])
    if not goes_on and (run / CONFIG).exists():
        clear(run)
    (run / FAILURE).unlink(missing_ok=True)
    write_file(run / CONFIG, OmegaConf.to_yaml(dict(config)))
    write_json(run / ENVIRONMENT, environment)
    if known := identities(loggers):
        write_json(run / TRACKERS, known)
    show_config(loggers.values(), config, goes_on)


def known_metrics(found: Mapping[str, Any], callbacks: Iterable[Any]) -> dict[str, float]:
    """What is known of a run's losses and accuracies.

    Arguments:
        found: the Trainer's metrics. Of a run that was cut off after its last epoch it knows nothing any more.
        callbacks: but their curves do.
    """
    from vae_lightning.curves import Curves

    everything = dict(found)
    for row in (row for callback in callbacks if isinstance(callback, Curves) for row in callback.rows):
        everything |= row
    stages = ("train/", "val/", "test/", "probe/", "gradient/")
    return {name: float(value) for stage in stages for name, value in everything.items() if name.startswith(stage)}


def finish(
    config: Mapping[str, Any], metrics: Mapping[str, float], loggers: Mapping[str, Any], axes: Mapping[str, Any]
) -> None:
    """Tell TensorBoard's HParams what varies, beside the final loss and accuracies; complete the run."""
    from vae_lightning.trackers import show_result

    show_result(loggers.values(), axes, metrics)
    write_json(Path(config["run_dir"]) / METRICS, metrics)


def quiet() -> None:
    """Silence what Lightning says to every run and a user can do nothing about."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", ".*does not have many workers.*")  # the images are in memory
    warnings.filterwarnings("ignore", ".*exists and is not empty.*")  # the run directory, which is ours
    warnings.filterwarnings("ignore", ".*LeafSpec.*")  # between Lightning and torch
    warnings.filterwarnings("ignore", "Total length of `list` across ranks is zero.*")  # data.val_size=0
    warnings.filterwarnings("ignore", ".*sync_dist=True.*")  # of what all processes agree on
    warnings.filterwarnings("ignore", ".*is smaller than the logging interval.*")  # curves have a point an epoch
    warnings.filterwarnings("ignore", ".*could not find the monitored key.*")  # in an epoch without validation
    warnings.filterwarnings("ignore", ".*gradient layout contract.*")  # a stack's are columns of one matrix


def closing_table(metrics: Mapping[str, float], run: Path, monitors: Iterable[str]) -> str:
    """The numbers of a run in nats and per cent of images, and where everything else is."""
    stages = [stage for stage in ("train", "val", "test") if f"{stage}/loss" in metrics]
    lines = ["", f"{'':14}" + "".join(f"{stage:>10}" for stage in stages)]
    rows = {"loss = -ELBO": "{}/loss", "recon": "{}/recon", "kl": "{}/kl", "probe accuracy": "probe/{}_acc"}
    for title, key in rows.items():
        numbers = [metrics.get(key.format(stage)) for stage in stages]
        if any(number is not None for number in numbers):
            digits = 4 if "acc" in key else 2
            cells = ["" if number is None else f"{number:.{digits}f}" for number in numbers]
            lines.append(f"{title:14}" + "".join(f"{cell:>10}" for cell in cells))
    epochs = f"{metrics['epochs']:.0f} epoch{'s' * (metrics['epochs'] != 1)}"
    lines += ["", f"{epochs} in {metrics['fit_seconds']:.1f} s; losses in nats per image"]
    places = {
        "numbers": run / METRICS,
        "curves": run / CURVES,
        "pictures": run / "figures",
        "weights": checkpoint_path(run, "last"),
    }
    lines += [f"{title:10} {place}" for title, place in places.items() if place.exists()]
    lines += [f"{'monitor':10} {command}" for command in monitors]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
