"""Train one run."""

import logging
import os
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path

from omegaconf import DictConfig

from vae_lightning.config.resolving import resolved
from vae_lightning.distributed import rank, started_outside
from vae_lightning.runs.checking import check_config
from vae_lightning.runs.directory import CONFIG, locked, stored_metrics
from vae_lightning.runs.metric_names import check_metric_names
from vae_lightning.runs.processes import check_processes, launch, local_devices
from vae_lightning.runs.stored_config import check_same
from vae_lightning.trackers.rules import check_trackers

__all__ = ["train"]

log = logging.getLogger(__name__)


def train(cfg: DictConfig, report: Callable[[int, float], bool] | None = None) -> dict[str, float]:
    """Train, test and probe a model as ``conf/train.yaml`` describes, and write everything to ``cfg.run_dir``.

    If the folder already holds a run of the same configuration, a complete run is left as it is, and an interrupted one
    resumes from its last checkpoint. For several devices, one process per device is started, unless torchrun or SLURM
    has done so.

    Arguments:
        cfg: the configuration.
        report: as for :class:`vae_lightning.callbacks.ObjectiveReport`; None outside a search.

    Returns:
        The content of ``metrics.json``: losses in nats per image, accuracies in [0, 1], times in seconds. Nothing if
        the run is pruned.

    Raises:
        InputError: if the configuration cannot be run; nothing has been written then.
        FloatingPointError: if the model diverges; the last checkpoint is from the epoch before.
        Interrupted: on SIGINT and SIGTERM.
    """
    config = resolved(cfg)
    check_config(config)
    check_trackers(config["logger"])
    check_processes(config)
    check_metric_names(config)
    run = Path(config["run_dir"])
    check_same(run, config)
    stored = stored_metrics(run) if (run / CONFIG).exists() and not config["restart"] else None
    if stored is not None:
        log.info("%s is already complete", os.path.relpath(run))
        return stored
    if local_devices(config["trainer"]) > 1 and not started_outside():
        return launch(partial(train, report=report), config)
    with locked(run) if rank() == 0 else nullcontext():
        if rank() == 0:
            print(f"{os.path.relpath(run)}: starting", flush=True)  # not into the log, a file: nothing is written yet
        # Imported here because it takes seconds.
        from vae_lightning.runs.fitting import fit_and_test

        return fit_and_test(config, report)
