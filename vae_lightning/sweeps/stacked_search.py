"""Run the jobs of a search in stacks, which pruned models leave and new trials fill up."""

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from vae_lightning.runs.directory import checkpoint_path
from vae_lightning.sweeps.epoch_end import EpochEnd
from vae_lightning.sweeps.search import POLL_SECONDS, Search, SearchJob, planned_epochs
from vae_lightning.sweeps.stacked_runs import Paused
from vae_lightning.sweeps.stacking import StackedJob, at_the_same_epoch, in_one_stack, stackable, train_stack

__all__ = ["run_in_stacks"]

log = logging.getLogger(__name__)

# A stack is filled up when at most this share of its models is left, if they still have this number of epochs to go.
# A step has a fixed cost, that of 1.4 models on two cores and of 190 on an H100 (benchmarks/stack.py), which the models
# share; a new start costs a second. No time that is measured decides, so that a resumed search decides alike.
LEFT, TO_GO = 0.25, 2

# Runs a job alone, and records the outcome of one that a stack has trained.
RunAlone = Callable[[SearchJob], None]
Record = Callable[[SearchJob, Exception | None], None]


def run_in_stacks(search: Search, run_alone: RunAlone, record: Record, at_a_time: int) -> None:
    """Run the jobs of a search as stacks.

    The trials of a batch begin together. At the end of an epoch, models that are pruned leave their stack. Once few are
    left, it pauses: a new batch trains to the same epoch by itself, and goes on together with the others.

    Arguments:
        search: the search.
        run_alone: runs a job that no stack can train.
        record: records the outcome of a job that a stack has trained.
        at_a_time: the number of trials in a batch.
    """
    pool = _Pool(search, at_a_time)
    while pool.fill():
        ready = pool.ready()
        alone = next((job for job in ready if job not in pool.stacked), None)
        if alone is not None:
            run_alone(alone)
            pool.end(alone)
        if alone is not None or not ready:
            continue
        jobs, until = pool.least_advanced(ready)
        decisions = _Decisions(pool, jobs, until)
        errors = train_stack([pool.stacked[job] for job in jobs], search.sweep, decisions)
        for place, job in enumerate(jobs):
            if errors is None:  # the reason is in the log
                del pool.stacked[job]
            elif isinstance(errors[place], Paused):
                pool.pause(job, decisions.epoch)
            else:
                record(job, errors[place])
                pool.end(job)


class _Pool:
    """The jobs that have begun and not ended.

    Attributes:
        jobs: the jobs, by number.
        stacked: each job as part of a stack, unless it must run alone.
    """

    def __init__(self, search: Search, at_a_time: int) -> None:
        self.search = search
        self.jobs: list[SearchJob] = []
        self.stacked: dict[SearchJob, StackedJob] = {}
        self._kinds: dict[SearchJob, str] = {}
        # The number of models of a trial that begin together, and of a full stack.
        self._each = search.jobs_at_once
        self._full = at_a_time * self._each
        # Of the last batch, the number, the size, and the number of trials that have begun: it may have been cut off.
        batches = [tuple(trial.user_attrs["batch"]) for trial in search.cut_off()]
        reported = {trial.number: trial.last_step or 0 for trial in search.cut_off()}
        self._batch, self._size = max(batches, default=(-1, 0))
        self._begun = search.begun_in(self._batch)
        for _ in batches:
            self._add(search.next())
        for kind in dict.fromkeys(self._kinds.values()):
            jobs = {self.stacked[job].directory: job for job in self.stacked if self._kinds[job] == kind}
            for group in at_the_same_epoch([self.stacked[job] for job in jobs.values()], starts_over=False):
                self.stacked |= {jobs[stacked.directory]: stacked for stacked in group}
        # A stack that was cut off within an epoch trains that again before it is filled up.
        self._within = any(job.reports and one.epoch < reported[job.trial.number] for job, one in self.stacked.items())

    def fill(self) -> bool:
        """Begin new trials if there is room for them and they pay; return whether there is a job."""
        within, self._within = self._within, False
        if not within and self._begun >= self._size and self._has_room(len(self.jobs), self._advance()):
            self._batch, self._begun = self._batch + 1, 0
            self._size = min((self._full - len(self.jobs)) // self._each, self.search.left())
        while self._begun < self._size:
            jobs = self.search.next((self._batch, self._size))
            self._begun = self._begun + 1 if jobs else self._size
            self._add(jobs)
        return bool(self.jobs)

    def pays(self, epoch: int, models: int, before: int) -> bool:
        """Return whether a stack should pause to be filled up.

        Arguments:
            epoch: the number of epochs that it has trained.
            models: the number of its models that are left.
            before: the number of its models before.
        """
        return models > 0 and self.search.left() > 0 and self._has_room(len(self.jobs) - before + models, epoch)

    def _has_room(self, models: int, epoch: int) -> bool:
        if epoch == 0:
            return models < self._full
        to_go = max((planned_epochs(job) - epoch for job in self.jobs), default=0)
        return models <= LEFT * self._full and to_go >= TO_GO

    def _advance(self) -> int:
        """Return the number of epochs after which the most advanced job resumes."""
        return max((stacked.epoch for stacked in self.stacked.values()), default=0)

    def _add(self, jobs: Sequence[SearchJob]) -> None:
        for job in jobs:
            if self.search.is_over(job):
                self._add(self.search.ended(job))
                continue
            self.jobs.append(job)
            for stacked in stackable([job.cfg]):
                self.stacked[job], self._kinds[job] = stacked, in_one_stack(stacked)
        self.jobs.sort(key=lambda job: job.number)

    def pause(self, job: SearchJob, epoch: int) -> None:
        """Note that a job goes on later from the checkpoint of this epoch."""
        checkpoint = checkpoint_path(job.folder, "last")
        self.stacked[job] = replace(self.stacked[job], checkpoint=checkpoint, epoch=epoch)

    def end(self, job: SearchJob) -> None:
        """Remove a job that has ended, and add those that its trial still needs."""
        self.jobs.remove(job)
        self.stacked.pop(job, None)
        self._add(self.search.ended(job))

    def ready(self) -> list[SearchJob]:
        """Return the jobs that no other command in this folder runs, as soon as there is one."""
        while self.jobs:
            elsewhere = self.search.run_elsewhere()
            ready = [job for job in self.jobs if job.trial.number not in elsewhere]
            over = [job for job in ready if self.search.is_over(job)]
            for job in over:
                self.end(job)
            if ready and not over:
                return ready
            time.sleep(0 if over else POLL_SECONDS)
        return []

    def least_advanced(self, ready: Sequence[SearchJob]) -> tuple[list[SearchJob], int | None]:
        """Return the jobs of the next stack, and the epoch after which others of its kind join it; None if none do."""
        kind = self._kinds[ready[0]]
        jobs = [job for job in ready if self._kinds[job] == kind]
        first, *later = sorted({self.stacked[job].epoch for job in jobs})
        stack = [job for job in jobs if self.stacked[job].epoch == first]
        # Models with the same optimiser share its steps if they are adjacent.
        stack.sort(key=lambda job: json.dumps(job.config["optimizer"], sort_keys=True))
        return stack, later[0] if later else None


class _Decisions(EpochEnd):
    """The decisions of a search.

    Attributes:
        epoch: the number of epochs that have ended.
    """

    def __init__(self, pool: _Pool, jobs: Sequence[SearchJob], until: int | None) -> None:
        self._pool, self._jobs, self._until = pool, jobs, until
        self.epoch = 0

    def pruned(self, epoch: int, metrics: Sequence[Mapping[str, Any]]) -> set[int]:
        name = self._pool.search.objectives.names[0]
        reported = {
            job.trial.number: place
            for place, job in enumerate(self._jobs)
            if job.reports and name in metrics[place] and epoch <= planned_epochs(job)
        }
        values = {number: float(metrics[place][name]) for number, place in reported.items()}
        return {reported[number] for number in self._pool.search.judge(epoch, values)}

    def goes_on(self, epoch: int, models: int) -> bool:
        self.epoch = epoch
        return epoch != self._until and not self._pool.pays(epoch, models, len(self._jobs))
