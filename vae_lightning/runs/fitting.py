"""Fit one run's model, test it and store its metrics."""

import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from omegaconf import OmegaConf

from vae_lightning.callbacks.interruption import Interruption
from vae_lightning.config.axes import axis_values
from vae_lightning.config.targets import build
from vae_lightning.distributed import rank
from vae_lightning.runs.checkpoints import SafeCheckpointIO, checkpoints
from vae_lightning.runs.closing_table import closing_table
from vae_lightning.runs.directory import CONFIG
from vae_lightning.runs.environment import environment
from vae_lightning.runs.run import Run
from vae_lightning.runs.warnings import filter_warnings
from vae_lightning.trackers.records import monitors

__all__ = ["fit_and_test"]

log = logging.getLogger(__name__)

# The hyperparameters that distinguish a run outside a sweep.
HYPERPARAMETERS = ("model.latent_dim", "optimizer.lr", "data.batch_size", "trainer.max_epochs", "seed")


def fit_and_test(config: Mapping[str, Any]) -> dict[str, float]:
    """Fit, test and probe a model in this process, from the last checkpoint if there is one.

    Arguments:
        config: the checked configuration, every value resolved; this process, or another one of the same run, holds the
            lock on the run directory.

    Returns:
        The content of ``metrics.json``.

    Raises:
        InputError: if an object cannot be built; nothing has been written then.
        FloatingPointError: if the model diverges.
        Interrupted: on SIGINT and SIGTERM.
    """
    began = time.perf_counter()
    filter_warnings()
    pl.seed_everything(config["seed"], verbose=False)  # for custom classes; built-in ones have their own streams
    run = Run(config, axis_values(config["sweep"]["axes"] or HYPERPARAMETERS, OmegaConf.create(dict(config))))
    data = build("data", config["data"], pl.LightningDataModule)
    model = run.build_model(data, pl.LightningModule)
    may_resume = (run.directory / CONFIG).exists() and not config["restart"]
    resumed, state = next(checkpoints(run.directory), (None, None)) if may_resume else (None, None)
    if rank() == 0:
        data.prepare_data()
        data.setup("fit")
    trainer = build(
        "trainer",
        config["trainer"],
        pl.Trainer,
        callbacks=[*run.callbacks.values(), Interruption()],
        logger=False,
        plugins=[SafeCheckpointIO()],
        default_root_dir=run.directory,
    )
    try:
        if rank() == 0:
            # The last step that may refuse the configuration, because it writes to disk.
            run.begin_loggers(state)
            trainer.loggers = [*run.loggers.values()]
            if state is not None:
                log.info("%s resumes after epoch %d", os.path.relpath(run.directory), state["epoch"] + 1)
            run.begin(environment(), resumes=state is not None)
        prepared = time.perf_counter()
        trainer.fit(model, datamodule=data, ckpt_path=resumed, weights_only=True)
        fitted = time.perf_counter()
        logged = dict(trainer.callback_metrics)
        trainer.test(model, datamodule=data, verbose=False)
        metrics = run.final_metrics(logged | trainer.callback_metrics) | {
            "epochs": trainer.current_epoch,
            "fit_seconds": round(fitted - prepared, 3),
            "total_seconds": round(time.perf_counter() - began, 3),
        }
        if rank() == 0:
            run.finish(metrics)
            print(closing_table(metrics, Path(os.path.relpath(run.directory)), monitors(run.loggers.values())))
    finally:
        run.end_loggers()
    return metrics
