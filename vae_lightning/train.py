"""vae-train: one run, from a configuration to a run directory."""

import logging
import os
import shlex
import time
import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from vae_lightning.checks import InputError, check_config
from vae_lightning.command import resolved, run_command
from vae_lightning.processes import check_processes, launch, local_devices, rank, started_outside, world_size
from vae_lightning.run_directory import (
    CONFIG,
    ENVIRONMENT,
    FAILURE,
    METRICS,
    check_same,
    checkpoint_path,
    claimed,
    clear,
    environment,
    moved,
    read_config,
    stored_metrics,
    write_file,
    write_json,
)
from vae_lightning.sweep import axis_values, run_job

__all__ = ["main", "train"]

log = logging.getLogger(__name__)


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
    from lightning.pytorch.loggers import Logger

    from vae_lightning.checkpoints import SafeCheckpointIO, newest_checkpoint
    from vae_lightning.curves import Curves
    from vae_lightning.interruption import Interruption
    from vae_lightning.targets import build

    began = time.perf_counter()
    run = Path(config["run_dir"])
    is_first = rank() == 0
    quiet()
    pl.seed_everything(config["seed"], verbose=False)  # for models and callbacks of others; ours have their own streams
    data = build("data", config["data"], pl.LightningDataModule)
    model = build("model", config["model"], pl.LightningModule)
    callbacks = [
        build(f"callbacks.{name}", node, pl.Callback) for name, node in _wanted_callbacks(config).items() if node
    ]
    newest = newest_checkpoint(run) if (run / CONFIG).exists() and not config["restart"] else None
    resumed, state = newest or (None, None)
    loggers = [
        build(f"logger.{name}", _resuming(node, state), Logger)  # type: ignore[type-abstract]
        for name, node in config["logger"].items()
        if node
    ]
    trainer = build(
        "trainer",
        config["trainer"],
        pl.Trainer,
        callbacks=[*callbacks, Interruption()],
        logger=loggers,
        plugins=[SafeCheckpointIO()],
        default_root_dir=run,
    )
    if is_first:
        data.prepare_data()
        data.setup("fit")
        if state is not None:
            log.info("%s was cut off: it goes on after epoch %d", os.path.relpath(run), state["epoch"] + 1)
        elif (run / CONFIG).exists():
            clear(run)
        (run / FAILURE).unlink(missing_ok=True)
        write_file(run / CONFIG, OmegaConf.to_yaml(config))
        write_json(run / ENVIRONMENT, environment())
    prepared = time.perf_counter()
    trainer.fit(model, datamodule=data, ckpt_path=resumed, weights_only=True)
    fitted = time.perf_counter()
    found: dict[str, Any] = dict(trainer.callback_metrics)
    # Of a run that was cut off after its last epoch the Trainer knows nothing any more, but the curves do.
    for row in (row for callback in callbacks if isinstance(callback, Curves) for row in callback.rows):
        found |= row
    trainer.test(model, datamodule=data, verbose=False)
    found |= trainer.callback_metrics

    stages = ("train/", "val/", "test/", "probe/")
    metrics = {name: float(value) for stage in stages for name, value in found.items() if name.startswith(stage)}
    metrics["epochs"] = trainer.current_epoch
    metrics["fit_seconds"] = round(fitted - prepared, 3)
    metrics["total_seconds"] = round(time.perf_counter() - began, 3)
    if is_first:
        _log_hyperparameters(
            trainer.loggers, axis_values(config["sweep"]["axes"], OmegaConf.create(dict(config))), metrics
        )
        write_json(run / METRICS, metrics)
        print(closing_table(metrics, Path(os.path.relpath(run))))
    return metrics


def _resuming(node: Mapping[str, Any], checkpoint: Mapping[str, Any] | None) -> dict[str, Any]:
    """A logger's configuration; one with purge_step draws anew what was drawn at and after the checkpoint's step."""
    return {**node, "purge_step": checkpoint["global_step"]} if checkpoint and "purge_step" in node else {**node}


def _log_hyperparameters(loggers: Sequence[Any], values: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
    """Tell TensorBoard's HParams what varies in the sweep, beside the final loss and accuracies."""
    from lightning.pytorch.loggers import TensorBoardLogger

    final = {
        f"final/{name}": metrics[name] for name in ("val/loss", "probe/train_acc", "probe/val_acc") if name in metrics
    }
    for logger in loggers:
        if values and isinstance(logger, TensorBoardLogger):
            plain = {name: value if isinstance(value, int | float) else str(value) for name, value in values.items()}
            logger.log_hyperparams(plain, final)
            logger.finalize("success")


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


def closing_table(metrics: Mapping[str, float], run: Path) -> str:
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
    lines += ["", f"{metrics['epochs']:.0f} epochs in {metrics['fit_seconds']:.1f} s; losses in nats per image"]
    places = {
        "numbers": run / METRICS,
        "curves": run / "metrics.csv",
        "pictures": run / "figures",
        "weights": checkpoint_path(run, "last"),
    }
    lines += [f"{title:10} {place}" for title, place in places.items() if place.exists()]
    if (run / "tensorboard").exists():
        lines.append(f"{'monitor':10} tensorboard --logdir {shlex.quote(str(run))}")
    return "\n".join(lines)


def _wanted_callbacks(config: Mapping[str, Any]) -> dict[str, Any]:
    """All callbacks but those that watch validation where there is none."""
    wanted = {}
    for name, node in config["callbacks"].items():
        monitor = str((node or {}).get("monitor", ""))
        if config["data"].get("val_size") == 0 and monitor.startswith("val/"):
            log.info("callbacks.%s is left out: it watches %s, and data.val_size is 0", name, monitor)
        else:
            wanted[name] = node
    return wanted


if __name__ == "__main__":
    main()
