"""New folders for runs and sweeps that are named after the second in which they start."""

import re
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback as Hooks
from omegaconf import DictConfig, open_dict, read_write

from vae_lightning.config.resolving import as_written
from vae_lightning.distributed import world_size

__all__ = ["NewRunFolder", "claim", "is_named_by_second"]


def claim(name: str, folder_of: Callable[[str], Path]) -> str:
    """Create a folder and return its name: the given one, or with ``-2``, ``-3`` and so on if it exists.

    Two commands started in the same second get two folders, because only one of them can create a folder.

    Arguments:
        name: the name that is tried first.
        folder_of: the path of the folder with a name.

    Raises:
        OSError: if the folder cannot be created.
    """
    for number in count(1):
        tried = name if number == 1 else f"{name}-{number}"
        with suppress(FileExistsError):
            folder_of(tried).mkdir(parents=True)
            return tried
    raise AssertionError("unreachable")


def is_named_by_second(node: DictConfig, key: str) -> bool:
    """Return whether a value, as it is written, contains the second of the start, ``${now:...%S}``."""
    return re.search(r"\$\{now:[^}]*%S", as_written(node, key)) is not None


class NewRunFolder(Hooks):
    """The hook that creates a single run's folder, so that no other run started in the same second uses it."""

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        # Several processes of one run share a folder, and have to be given it.
        if config.get("resume") is None and world_size() == 1 and is_named_by_second(config.hydra.run, "dir"):
            with suppress(OSError), read_write(config), open_dict(config):  # Hydra raises the error again
                config.hydra.run.dir = claim(config.hydra.run.dir, Path)
