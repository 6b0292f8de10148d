"""The end of a command that refuses its input: one line, an exit status, nothing left behind."""

import errno
import os
import sys
from contextlib import suppress
from typing import NoReturn

from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from vae_lightning.config.environment_variables import with_names
from vae_lightning.config.errors import InputError
from vae_lightning.config.resolving import key_names
from vae_lightning.config.rules import check_choice
from vae_lightning.terminal import clear
from vae_lightning.wrapping import fitted

__all__ = ["REFUSALS", "end_unread", "refuse", "remove_empty"]

# Errors that are reported in one line. FloatingPointError: the loss is not finite; UnicodeEncodeError: the encoding of
# file names lacks a character.
REFUSALS = (
    *(InputError, HydraException, OmegaConfBaseException, OSError, FloatingPointError, UnicodeEncodeError),
    MemoryError,
)

# Full disks, quotas, files above a limit, broken devices, and errors that a Trainer or server reports without a number.
_FAILURES = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, None)


def refuse(error: Exception) -> NoReturn:
    """End the command with one line: with status 2 for bad input, 1 for a failure such as a full disk."""
    clear()
    print(fitted(f"error: {_in_one_line(error)}", sys.stderr), file=sys.stderr)
    sys.exit(1 if _is_failure(error) else 2)


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


def _is_failure(error: Exception) -> bool:
    """Return whether the machine failed; other OSErrors are about a name or path that the user has given."""
    if isinstance(error, HydraException):  # a file of conf/ that does not exist is an OSError too
        return False
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno in _FAILURES)


def _in_one_line(error: Exception) -> str:
    try:
        match error, error.__cause__:
            case MissingConfigException(missing_cfg_file=str(file), options=[*options]), _:
                group, _, name = file.rpartition("/")
                check_choice(f"{group}={name}", name, options)
            case ConfigCompositionException(), OmegaConfBaseException(parent_node=DictConfig() as parent) as cause:
                choices, root = {str(key) for key in parent} - {"hydra"}, parent._get_root()
                elsewhere = key_names(root) if isinstance(root, DictConfig) else ()
                check_choice(str(cause.full_key), str(cause.key), choices, elsewhere)
    except InputError as clearer:
        error = clearer
    words = [str(error)]
    if isinstance(error, ConfigCompositionException) and error.__cause__ is not None:
        words.append(str(error.__cause__))
    return with_names(" ".join(" ".join(words).split()))
