"""The end of a command that refuses its input: one line, an exit status, nothing left behind."""

import os
import sys
from contextlib import suppress
from typing import NoReturn

from hydra.errors import ConfigCompositionException, MissingConfigException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from vae_lightning.config.errors import InputError
from vae_lightning.config.rules import check_choice

__all__ = ["end_unread", "refuse", "remove_empty"]


def refuse(error: Exception) -> NoReturn:
    """End the command with status 2 and one line."""
    print(f"error: {_in_one_line(error)}", file=sys.stderr)
    sys.exit(2)


def end_unread() -> NoReturn:
    """End the command silently with status 1: nobody reads its output any more, as in ``vae-train --help | head``."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(1)


def remove_empty(folder: str) -> None:
    """Remove a folder if it is empty, and then its parents below the working directory if they are empty too."""
    relative = os.path.relpath(folder)
    with suppress(OSError):  # not empty
        if relative.startswith(os.pardir):
            os.rmdir(folder)
        else:
            os.removedirs(relative)


def _in_one_line(error: Exception) -> str:
    try:
        match error, error.__cause__:
            case MissingConfigException(missing_cfg_file=str(file), options=[*options]), _:
                group, _, name = file.rpartition("/")
                check_choice(f"{group}={name}", name, options)
            case ConfigCompositionException(), OmegaConfBaseException(parent_node=DictConfig() as parent) as cause:
                check_choice(str(cause.full_key), str(cause.key), {str(key) for key in parent} - {"hydra"})
    except InputError as clearer:
        error = clearer
    words = [str(error)]
    if isinstance(error, ConfigCompositionException) and error.__cause__ is not None:
        words.append(str(error.__cause__))
    return " ".join(" ".join(words).split())
