"""The number of a sweep's jobs that this process runs one after another, and the time that is left for them."""

import os
import time
from collections.abc import Collection
from pathlib import Path

__all__ = ["announce_jobs", "expect_jobs"]

_process = _total = 0  # the process that runs the jobs, and their number; an engine's workers announce nothing
_first = 0.0  # when the first job began
_begun: set[Path] = set()


def expect_jobs(total: int) -> None:
    """Set the number of jobs that this command is about to run, which a sweeper knows."""
    global _process, _total
    _process, _total = os.getpid(), total
    _begun.clear()


def announce_jobs(folders: Collection[Path]) -> None:
    """Print a line where jobs begin, ``job 4 of 12, about 3 min left``; jobs that have already begun print none.

    The estimate is the mean time of the jobs that have ended, times the number of the others.

    Arguments:
        folders: the jobs' run directories; several jobs begin together if they are trained as a stack.
    """
    global _first
    if os.getpid() != _process or _begun.issuperset(folders):
        return
    ended = len(_begun)
    _begun.update(folders)
    if not ended:
        _first = time.monotonic()
    which = f"job {ended + 1}" if len(_begun) == ended + 1 else f"jobs {ended + 1} to {len(_begun)}"
    left = (time.monotonic() - _first) / ended * (_total - ended) if ended else None
    print(f"{which} of {_total}" + (f", about {_duration(left)} left" if left is not None else ""), flush=True)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
