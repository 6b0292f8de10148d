"""Commands that take part in a search: which of them are alive."""

import os
import platform
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

__all__ = ["Worker"]

# A command on another machine that has given no sign of life for this number of heartbeats is dead.
MISSED = 3


class Worker:
    """This command, which holds a lock as long as it lives; its trials name the lock.

    Arguments:
        sweep: the sweep's folder.
        heartbeat: seconds between two signs of life, which commands on other machines need.
    """

    def __init__(self, sweep: Path, heartbeat: float) -> None:
        self.name = f"{platform.node()}-{os.getpid()}-{time.time_ns()}"
        self.heartbeat = heartbeat
        self._lock = FileLock(os.path.abspath(sweep / ".workers" / self.name))

    @property
    def attributes(self) -> dict[str, Any]:
        """What a trial stores of the worker that runs it."""
        return {"name": self.name, "host": platform.node(), "lock": self._lock.lock_file}

    @contextmanager
    def alive(self, sign: Callable[[], None]) -> Iterator[None]:
        """Hold the lock, and give signs of life in the background.

        Arguments:
            sign: gives one.
        """
        path, ended = Path(self._lock.lock_file), threading.Event()
        path.parent.mkdir(parents=True, exist_ok=True)

        def beat() -> None:
            while not ended.wait(self.heartbeat):
                sign()

        thread = threading.Thread(target=beat, daemon=True)
        with self._lock:
            thread.start()
            try:
                yield
            finally:
                ended.set()
                thread.join()
                path.unlink(missing_ok=True)

    def is_alive(self, other: Mapping[str, Any], last_sign: float) -> bool:
        """Return whether another worker is alive.

        Arguments:
            other: its :attr:`attributes`.
            last_sign: the time of its last sign of life, in seconds since the epoch.
        """
        if other["name"] == self.name:
            return True
        lock = Path(other["lock"])
        if other["host"] != platform.node() or not lock.parent.is_dir():
            return time.time() - last_sign < MISSED * self.heartbeat
        if not lock.exists():
            return False
        try:
            with FileLock(lock, timeout=0):
                pass
        except Timeout:
            return True
        lock.unlink(missing_ok=True)
        return False
