"""Compose one job's configuration."""

import copy
import os
from collections.abc import Iterator
from contextlib import contextmanager

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, open_dict, read_write

__all__ = ["composed_job"]


@contextmanager
def composed_job(cfg: DictConfig) -> Iterator[DictConfig]:
    """Yield one job's configuration; within the context, ``${hydra:...}`` gives the values that it has in the job.

    Arguments:
        cfg: the configuration as Hydra's loader composes it, including the ``hydra`` node.
    """
    state = HydraConfig.instance()
    before = state.cfg
    try:
        state.set_config(cfg)  # the folder's name may need it
        runtime, folders = cfg.hydra.runtime, cfg.hydra.sweep
        with read_write(runtime), open_dict(runtime):
            runtime.output_dir = os.path.abspath(os.path.join(folders.dir, folders.subdir))
        state.set_config(cfg)
        task = copy.deepcopy(cfg)
        with read_write(task), open_dict(task):
            del task["hydra"]
        yield task
    finally:
        state.cfg = before
