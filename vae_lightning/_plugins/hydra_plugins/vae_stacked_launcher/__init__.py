"""A launcher that trains those jobs of a sweep as one stack that can be; the rest run as usual.

Hydra imports its plugins at every start, so nothing heavy is imported here.
"""

import copy
import json
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.utils import JobReturn, configure_log, filter_overrides, run_job, setup_globals
from hydra.types import TaskFunction
from omegaconf import DictConfig, open_dict
from omegaconf.errors import OmegaConfBaseException

__all__ = ["StackedLauncher"]

log = logging.getLogger(__name__)

MOST_ON_CPU, MOST_ON_GPU = 64, 256


@dataclass
class _Job:
    """A job that can be stacked: its place in the launcher's list, and from where it goes on (None: it begins)."""

    place: int
    config: Mapping[str, Any]
    description: Mapping[str, Any]
    checkpoint: Path | None = None

    @property
    def run(self) -> Path:
        return Path(self.config["run_dir"])


class StackedLauncher(BasicLauncher):
    """Hydra's basic launcher, but jobs that can be are trained as stacks before their turn comes.

    Arguments:
        max_stack: the most models of a stack; if None, by the device.
    """

    def __init__(self, max_stack: int | None = None) -> None:
        super().__init__()
        self.max_stack = max_stack

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        assert self.config is not None
        assert self.hydra_context is not None
        assert self.task_function is not None
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        loader = self.hydra_context.config_loader
        composed = [loader.load_sweep_config(self.config, list(overrides)) for overrides in job_overrides]
        returned = {}
        stacks = self._stacks(_stackable(composed))
        for number, stack in enumerate(stacks, 1):
            log.info("stack %d of %d: %d models", number, len(stacks), len(stack))
            for job, task in zip(stack, self._train(stack), strict=True):
                returned[job.place] = self._run(initial_job_idx + job.place, composed[job.place], task)
        for place, overrides in enumerate(job_overrides):
            if place not in returned:
                log.info("job #%d: %s", initial_job_idx + place, " ".join(filter_overrides(overrides)))
                returned[place] = self._run(initial_job_idx + place, composed[place], self.task_function)
        return [returned[place] for place in range(len(job_overrides))]

    def _stacks(self, jobs: Sequence[_Job]) -> list[list[_Job]]:
        """Jobs of the same configuration and the same number of epochs so far, in stacks of about the same size."""
        groups: dict[str, list[_Job]] = {}
        for job in jobs:
            groups.setdefault(_in_common(job.config), []).append(job)
        stacks = []
        for together in (jobs for group in groups.values() for jobs in _at_the_same_epoch(group)):
            # Models with the same optimiser side by side share its steps.
            together.sort(key=lambda job: (json.dumps(job.config["optimizer"], sort_keys=True), job.place))
            count = math.ceil(len(together) / (self.max_stack or _most(together[0].config)))
            bounds = [round(number * len(together) / count) for number in range(count + 1)]
            stacks += [together[first:last] for first, last in pairwise(bounds)]
        for stack in stacks:
            if len(stack) == 1:
                log.info("by itself: %s, for no other job may share its stack", stack[0].run.name)
        return [stack for stack in stacks if len(stack) > 1]

    def _train(self, stack: Sequence[_Job]) -> list[TaskFunction]:
        """Train a stack; return what is left to do for each of its jobs."""
        from vae_lightning.checks import InputError
        from vae_lightning.run_directory import JOB, write_json
        from vae_lightning.stacked_runs import StackedRun, train_stacked
        from vae_lightning.sweep import STOPPED

        assert self.task_function is not None
        if (stack[0].run.parent / STOPPED).exists():
            return [self.task_function] * len(stack)  # which will say so
        for job in stack:
            write_json(job.run / JOB, job.description)
        try:
            errors = train_stacked([StackedRun(job.config, job.description["axes"], job.checkpoint) for job in stack])
        except InputError as error:
            log.warning("the jobs of this stack run by themselves: %s", error)
            return [self.task_function] * len(stack)
        return [partial(_tell, error, error.__traceback__ if error else None) for error in errors]

    def _run(self, number: int, cfg: DictConfig, task: TaskFunction) -> JobReturn:
        assert self.config is not None
        assert self.hydra_context is not None
        with open_dict(cfg):
            cfg.hydra.job.id = cfg.hydra.job.num = number
        job = run_job(task, cfg, "hydra.sweep.dir", "hydra.sweep.subdir", self.hydra_context)
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        return job


def _stackable(composed: Sequence[DictConfig]) -> list[_Job]:
    """The jobs that are not complete and can be stacked; of the others the log tells why not."""
    from vae_lightning.checks import InputError, check_config
    from vae_lightning.command import resolved
    from vae_lightning.run_directory import check_same, stored_metrics
    from vae_lightning.stacked_runs import check_stackable
    from vae_lightning.sweep import composed_job, job_description

    jobs = []
    for place, full in enumerate(composed):
        with composed_job(copy.deepcopy(full)) as cfg:  # Hydra makes it read-only
            try:
                config = resolved(cfg)
                check_config(config)
                job = _Job(place, config, job_description(cfg))
                check_same(job.run, config)
                check_stackable(config)
            except (InputError, OmegaConfBaseException) as error:
                log.info("by itself: %s, for a stack cannot hold %s", cfg.run_dir, error)
            else:
                if config["restart"] or stored_metrics(job.run) is None:
                    jobs.append(job)
    return jobs


def _in_common(config: Mapping[str, Any]) -> str:
    """All of a configuration but that in which a stack's models may differ, its copies, the folder and the loggers."""
    from vae_lightning.run_directory import moved
    from vae_lightning.stack import in_common

    common = in_common(moved(config, "."))
    common["model"] = in_common(common["model"])
    del common["run_dir"], common["logger"], common["data"]["seed"]
    return json.dumps(common, sort_keys=True)


def _at_the_same_epoch(jobs: Sequence[_Job]) -> Iterator[list[_Job]]:
    """A crash may have come when some had saved an epoch already; then these go on from the one before it."""
    from vae_lightning.stacked_runs import states

    found = [(job, states(job.config)) for job in jobs]
    while found:
        epoch = min(max(checkpoints) for _, checkpoints in found)
        yield [replace(job, checkpoint=checkpoints[epoch]) for job, checkpoints in found if epoch in checkpoints]
        found = [(job, checkpoints) for job, checkpoints in found if epoch not in checkpoints]


def _most(config: Mapping[str, Any]) -> int:
    import torch

    accelerator = config["trainer"].get("accelerator", "auto")
    on_cpu = accelerator == "cpu" or (accelerator == "auto" and not torch.accelerator.is_available())
    return MOST_ON_CPU if on_cpu else MOST_ON_GPU


def _tell(error: Exception | None, traceback: TracebackType | None, cfg: DictConfig) -> float | None:
    """What is left of a job that a stack has trained: its place in the sweep's results."""
    from vae_lightning.run_directory import stored_metrics
    from vae_lightning.sweep import run_job as run_sweep_job

    def outcome(cfg: DictConfig) -> Mapping[str, float]:
        if error is not None:
            raise error.with_traceback(traceback)  # several jobs may fail with the same one
        return stored_metrics(Path(cfg.run_dir)) or {}

    return run_sweep_job(cfg, outcome)
