"""A launcher that trains the jobs of a sweep as stacks where possible; the other jobs run as usual.

Hydra imports its plugins at every start, so nothing heavy is imported here.
"""

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.utils import JobReturn, configure_log, filter_overrides, run_job, setup_globals
from hydra.types import TaskFunction
from omegaconf import DictConfig

if TYPE_CHECKING:
    from vae_lightning.sweeps.search import Search

__all__ = ["StackedLauncher"]

log = logging.getLogger(__name__)

# The number of models in a stack of a search, unless it is given: more would be chosen without knowing of each other.
MODELS = 16


class StackedLauncher(BasicLauncher):
    """Hydra's basic launcher, except that jobs that can be stacked are trained first, stack by stack.

    Arguments:
        max_stack: largest number of models in a stack; if None, it depends on the device.
    """

    def __init__(self, max_stack: int | None = None) -> None:
        super().__init__()
        self.max_stack = max_stack

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        from vae_lightning.sweeps.composing import load_job
        from vae_lightning.sweeps.pace import announce_jobs
        from vae_lightning.sweeps.stacking import stacks, train_stack

        assert self.config is not None
        assert self.hydra_context is not None
        assert self.task_function is not None
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        loader = self.hydra_context.config_loader
        composed = [
            load_job(loader, self.config, overrides, number)
            for number, overrides in enumerate(job_overrides, initial_job_idx)
        ]
        returned = {}
        found = stacks(composed, self.max_stack)
        for number, stack in enumerate(found, 1):
            log.info("stack %d of %d: %d models", number, len(found), len(stack))
            announce_jobs([job.directory for job in stack])
            errors = train_stack(stack, Path(self.config.hydra.sweep.dir))
            for place, job in enumerate(stack):
                task = self.task_function
                if errors is not None:
                    error = errors[place]
                    task = partial(_report_outcome, error, error.__traceback__ if error else None)
                returned[job.place] = self._run(composed[job.place], task)
        for place, overrides in enumerate(job_overrides):
            if place not in returned:
                log.info("job #%d: %s", initial_job_idx + place, " ".join(filter_overrides(overrides)))
                returned[place] = self._run(composed[place], self.task_function)
        return [returned[place] for place in range(len(job_overrides))]

    def run_search(self, search: "Search", at_a_time: int | None) -> None:
        """Run the jobs of a search as stacks, by :func:`vae_lightning.sweeps.stacked_search.run_in_stacks`.

        Arguments:
            search: the search.
            at_a_time: the number of trials in a batch; if None, as many as make a stack of 16 models.
        """
        from vae_lightning.sweeps.stacked_search import run_in_stacks

        assert self.config is not None
        assert self.task_function is not None
        task_function = self.task_function
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        limit = max(1, (self.max_stack or MODELS) // search.jobs_at_once)
        run_in_stacks(
            search,
            lambda job: self._result(job.cfg, task_function),
            lambda job, error: self._result(
                job.cfg, partial(_report_outcome, error, error.__traceback__ if error else None)
            ),
            limit if at_a_time is None else at_a_time if self.max_stack is None else min(at_a_time, limit),
        )

    def _result(self, cfg: DictConfig, task: TaskFunction) -> None:
        _ = self._run(cfg, task).return_value  # raises the error of a job that was refused

    def _run(self, cfg: DictConfig, task: TaskFunction) -> JobReturn:
        assert self.config is not None
        assert self.hydra_context is not None
        job = run_job(task, cfg, "hydra.sweep.dir", "hydra.sweep.subdir", self.hydra_context)
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        return job


def _report_outcome(error: Exception | None, traceback: TracebackType | None, cfg: DictConfig) -> float | None:
    """Record the outcome of a job that was trained in a stack, as if the job had run alone."""
    from vae_lightning.runs.directory import stored_metrics
    from vae_lightning.sweeps.jobs import run_job as run_sweep_job

    def outcome(cfg: DictConfig, *_: Any) -> Mapping[str, float]:
        if error is not None:
            raise error.with_traceback(traceback)  # several jobs may share one exception
        return stored_metrics(Path(cfg.run_dir)) or {}

    return run_sweep_job(cfg, outcome)
