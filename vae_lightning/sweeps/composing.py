"""Compose one job's configuration."""

import copy
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from vae_lightning.config.errors import IncompatibleError, InputError
from vae_lightning.config.resolving import resolved
from vae_lightning.runs.checking import check_composed, check_config
from vae_lightning.runs.metric_names import check_metric_names
from vae_lightning.runs.stored_config import check_same
from vae_lightning.trackers.rules import check_trackers

__all__ = ["checked_job", "composed_job", "load_job", "sweep_folder"]


def load_job(loader: ConfigLoader, sweep: DictConfig, overrides: Sequence[str], number: int) -> DictConfig:
    """Return one job's configuration, including the ``hydra`` node, in which ``hydra.job.num`` is set.

    Arguments:
        loader: Hydra's configuration loader.
        sweep: the multirun's configuration.
        overrides: the job's overrides, as ``key=value``.
        number: the job's place in the sweep, which its folder's name may contain.
    """
    cfg = loader.load_sweep_config(sweep, [*overrides])
    with open_dict(cfg):
        cfg.hydra.job.num, cfg.hydra.job.id = number, str(number)
    return cfg


@contextmanager
def composed_job(cfg: DictConfig) -> Iterator[DictConfig]:
    """Yield one job's configuration; within the context, ``${hydra:...}`` gives the values that it has in the job.

    Arguments:
        cfg: the configuration from :func:`load_job`.

    Raises:
        InputError: if the job's folder is not within the sweep's folder, where the report looks for jobs.
    """
    state = HydraConfig.instance()
    before = state.cfg
    try:
        state.set_config(cfg)  # the folder's name may need it
        runtime, folders = cfg.hydra.runtime, cfg.hydra.sweep
        with read_write(runtime), open_dict(runtime):
            runtime.output_dir = os.path.abspath(os.path.join(folders.dir, str(folders.subdir)))
        state.set_config(cfg)
        if sweep_folder() not in Path(runtime.output_dir).parents:
            raise InputError(f"hydra.sweep.subdir={folders.subdir}: must be a folder within the sweep's")
        task = copy.deepcopy(cfg)
        with read_write(task), open_dict(task):
            del task["hydra"]
        yield task
    finally:
        state.cfg = before
        OmegaConf.set_readonly(cfg.hydra, False)  # as it was composed: the job's launcher sets its number


def checked_job(
    loader: ConfigLoader, sweep: DictConfig, overrides: Sequence[str], number: int
) -> tuple[DictConfig, dict[str, Any]]:
    """Return one job's configuration as :func:`load_job` does, and with every value resolved; refuse a bad one.

    Arguments:
        loader: Hydra's configuration loader.
        sweep: the multirun's configuration.
        overrides: the job's overrides, as ``key=value``.
        number: the job's place in the sweep.

    Raises:
        IncompatibleError: naming the job's folder, if two choices do not go together.
        InputError: if the configuration cannot be run, or the job's folder holds a run of another one.
    """
    full = load_job(loader, sweep, overrides, number)
    with composed_job(full) as cfg:
        check_composed(cfg, HydraConfig.get())
        config = resolved(cfg)
        try:
            check_config(config)
        except IncompatibleError as error:
            job = os.path.relpath(config["run_dir"], sweep_folder())
            raise IncompatibleError(f"{job} ({error})") from error
        check_metric_names(config)
        check_trackers(config["logger"])
        check_same(Path(config["run_dir"]), config)
    return full, config


def sweep_folder() -> Path:
    """Return the absolute path of the sweep's folder, within one of its jobs."""
    hydra = HydraConfig.get()
    return Path(os.path.abspath(os.path.join(hydra.runtime.cwd, hydra.sweep.dir)))
