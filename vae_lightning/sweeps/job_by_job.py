"""Run the jobs of a search one by one, or as many at a time as a launcher runs."""

import threading
import time
from collections import deque
from collections.abc import Callable

from hydra.plugins.launcher import Launcher

from vae_lightning.sweeps.search import POLL_SECONDS, Search, SearchJob

__all__ = ["run_job_by_job"]


class _Queue:
    """The jobs that several threads take; each is taken once."""

    def __init__(self, search: Search) -> None:
        self._search = search
        self._waiting: deque[SearchJob] = deque()
        self._lock = threading.Lock()
        self.error: BaseException | None = None

    def take(self) -> SearchJob | None:
        """Return the next job that has to be run; None if there is none."""
        with self._lock:
            while self.error is None:
                self._waiting.extend(() if self._waiting else self._search.next())
                if not self._waiting:
                    return None
                job = self._waiting.popleft()
                if not self._search.is_over(job):
                    return job
                self._waiting.extendleft(reversed(self._search.ended(job)))
            return None

    def end(self, job: SearchJob) -> None:
        with self._lock:
            self._waiting.extendleft(reversed(self._search.ended(job)))


def run_job_by_job(search: Search, launcher: Launcher, at_a_time: int) -> None:
    """Launch each job of a search by itself; a new one begins when one ends.

    Arguments:
        search: the search.
        launcher: Hydra's launcher; from two jobs at a time on, it is called in several threads.
        at_a_time: number of jobs at a time.
    """
    queue = _Queue(search)

    def work() -> None:
        while job := queue.take():
            while job.trial.number in search.run_elsewhere():
                time.sleep(POLL_SECONDS)
            for returned in launcher.launch([job.overrides], job.number) if not search.is_over(job) else ():
                _ = returned.return_value  # raises the error of a job that was refused
            queue.end(job)

    if at_a_time == 1:  # here, because only the main thread receives signals
        work()
    else:
        _in_threads(work, at_a_time, queue)


def _in_threads(work: Callable[[], None], count: int, queue: _Queue) -> None:
    def guarded() -> None:
        try:
            work()
        except BaseException as error:
            queue.error = error

    # Daemons, because a thread that waits for a job would keep an interrupted command from ending.
    threads = [threading.Thread(target=guarded, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            thread.join(0.2)  # a signal ends the command in between
    if queue.error is not None:
        raise queue.error
