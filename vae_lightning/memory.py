"""The memory of this machine, and the sizes that exceed it."""

import os
from contextlib import suppress
from pathlib import Path

from vae_lightning.config.errors import InputError

__all__ = ["available_memory", "check_memory"]

# Limits of a container, in versions 2 and 1 of cgroups.
_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))

_MEMINFO = Path("/proc/meminfo")


def check_memory(given: str, needed: int) -> None:
    """Refuse a value that takes more memory than this machine has, before it is allocated.

    Arguments:
        given: the key and the value, for the error.
        needed: a lower bound in bytes.

    Raises:
        InputError: with both amounts.
    """
    total = _total()
    if total is not None and needed > total:
        raise InputError(
            f"{given}: must be smaller, because it takes at least {needed / 1e9:,.0f} GB of memory, and this machine "
            f"has {total / 1e9:,.0f} GB"
        )


def available_memory() -> int | None:
    """Return the bytes of memory that are free, or freed when a process needs them; None if unknown."""
    found = [total] if (total := _total()) is not None else []
    with suppress(ValueError, OSError, StopIteration):  # no such file but on Linux
        lines = _MEMINFO.read_text(encoding="ascii").splitlines()
        found.append(1024 * int(next(line.split()[1] for line in lines if line.startswith("MemAvailable:"))))
    return min(found, default=None)


def _total() -> int | None:
    """Return the bytes of memory that processes may use; None if unknown."""
    found = []
    with suppress(ValueError, OSError, AttributeError):  # no such names on Windows
        found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for file in _LIMITS:
        with suppress(ValueError, OSError):  # "max", or no such file
            found.append(int(file.read_text()))
    return min(found, default=None)
