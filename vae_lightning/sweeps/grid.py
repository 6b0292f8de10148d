"""Jobs of a grid: skip the complete ones, and check the others before the first one runs."""

import logging
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from omegaconf import DictConfig

from vae_lightning.config.errors import IncompatibleError, InputError
from vae_lightning.config.refusal import remove_empty
from vae_lightning.config.resolving import as_written
from vae_lightning.runs.stored_config import differences
from vae_lightning.sweeps.composing import checked_job
from vae_lightning.sweeps.fingerprints import complete_jobs, fingerprints

__all__ = ["clears_up", "remaining_jobs"]

log = logging.getLogger(__name__)


def remaining_jobs(loader: ConfigLoader, config: DictConfig, jobs: Sequence[list[str]]) -> list[list[str]]:
    """Check the jobs that are not complete, and return them.

    A combination of choices that do not go together is left out, with a warning; so is, without one, a job of the same
    configuration and folder as an earlier one.

    A complete job is recognised without composing its configuration, which would take 0.1 s. If the jobs' folders are
    named after their numbers, complete jobs are returned too, because the others would change their numbers.

    Arguments:
        loader: Hydra's configuration loader.
        config: the multirun's configuration, including the ``hydra`` node.
        jobs: the overrides of each job.

    Raises:
        InputError: for the first other job that would be refused, if every combination is left out, or for the first
            job whose folder is also that of another configuration.
    """
    sweep = Path(config.hydra.sweep.dir)
    complete = complete_jobs(sweep)
    identified = zip(jobs, fingerprints(config.hydra.runtime.config_sources, jobs), strict=True)
    remaining = [job for job, fingerprint in identified if "restart=true" in job or fingerprint not in complete]
    if len(remaining) < len(jobs):
        log.info("%d of %d jobs are complete", len(jobs) - len(remaining), len(jobs))
    if _are_numbered(config):
        remaining = list(jobs)
    folders: dict[str, Mapping[str, Any]] = {}
    left_out: dict[int, str] = {}
    repeated: set[int] = set()
    for number, job in enumerate(remaining):
        try:
            _, checked = checked_job(loader, config, job, number)
        except IncompatibleError as error:
            if len(jobs) == 1:
                raise
            left_out[number] = str(error)
            continue
        earlier = folders.setdefault(checked["run_dir"], checked)
        if differences(earlier, checked):
            folder = os.path.relpath(checked["run_dir"], sweep)
            raise InputError(f"hydra.sweep.subdir={folder}: must be another folder for each job")
        if earlier is not checked:  # a value that is also the default: the same job, spelled in another way
            repeated.add(number)
    if left_out and len(left_out) == len(jobs):
        raise InputError(f"all combinations are left out: {next(iter(left_out.values()))}")
    for why in left_out.values():
        log.warning("left out: %s", why)
    return [job for number, job in enumerate(remaining) if number not in repeated | left_out.keys()]


@contextmanager
def clears_up(config: DictConfig) -> Iterator[None]:
    """Remove the sweep's folder, if it is empty, when the block raises an error."""
    try:
        yield
    except Exception:
        remove_empty(config.hydra.sweep.dir)
        raise


def _are_numbered(config: DictConfig) -> bool:
    return re.search(r"job\.(num|id)\b", as_written(config.hydra.sweep, "subdir")) is not None
