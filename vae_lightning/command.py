"""The commands' common frame: Hydra around a task, and bad input told in one line."""

import logging
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vae_lightning.checks import InputError, check_choice

__all__ = ["CONF", "end_unread", "refuse", "remove_empty", "resolved", "run_command"]

OmegaConf.register_new_resolver("first_of", lambda value, default: default if value is None else value, replace=True)
OmegaConf.register_new_resolver("name_of", lambda path: Path(path).name, replace=True)

_PACKAGE = Path(__file__).parent
# A wheel holds the configurations inside the package, a source tree beside it.
CONF = _PACKAGE / "conf" if (_PACKAGE / "conf").is_dir() else _PACKAGE.parent / "conf"

# Where Hydra finds plugins of ours: it looks for a namespace package, hydra_plugins, on the path. Last, even if it is
# there already, for it runs each plugin in the path's order, and ours take away what others have stored.
_PLUGINS = str(_PACKAGE / "_plugins")
sys.path[:] = [*(folder for folder in sys.path if folder != _PLUGINS), _PLUGINS]

# FloatingPointError: a loss that is not finite.
_REFUSALS = (InputError, HydraException, OmegaConfBaseException, OSError, FloatingPointError)


def run_command(task: Callable[[DictConfig], Any], config_name: str) -> None:
    """Compose the configuration from the command line and run the task; end with status 2 and one line on bad input.

    Arguments:
        task: what to do with the composed configuration. If it refuses that with an InputError, before it has written
            anything, the empty folder that Hydra made for it is taken away again.
        config_name: a file of ``conf``.
    """
    with_traceback = os.environ.get("HYDRA_FULL_ERROR", "0") not in ("", "0")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra is to raise its errors, for its own words for them take many lines

    def guarded(cfg: DictConfig) -> Any:
        logging.captureWarnings(True)  # into the log, which keeps clear of progress bars
        try:
            return task(cfg)
        except BrokenPipeError:
            end_unread()
        except _REFUSALS as error:
            remove_empty(HydraConfig.get().runtime.output_dir)
            if with_traceback or HydraConfig.get().mode == RunMode.MULTIRUN:
                raise
            refuse(error)  # from here, since Hydra adds a line of its own to an exception that it sees

    guarded.__module__ = task.__module__
    try:
        hydra.main(version_base="1.3", config_path=str(CONF), config_name=config_name)(guarded)()
    except BrokenPipeError:  # while Hydra printed something
        end_unread()
    except _REFUSALS as error:
        if with_traceback:
            raise
        refuse(error)
    except ValueError as error:
        if with_traceback or not str(error).startswith("Config group override"):  # Hydra's, of data=null
            raise
        refuse(error)


def refuse(error: Exception) -> NoReturn:
    """End the command with status 2 and one line."""
    print(f"error: {_in_one_line(error)}", file=sys.stderr)
    sys.exit(2)


def end_unread() -> NoReturn:
    """End the command with status 1 and no word: nobody reads its output any more, as of vae-train --help | head."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(1)


def remove_empty(folder: str) -> None:
    """Take away an empty folder, and the folders around it below the working directory if they are empty then."""
    relative = os.path.relpath(folder)
    with suppress(OSError):  # it is not empty
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


def resolved(cfg: DictConfig) -> dict[str, Any]:
    """The configuration as plain dicts and lists, every interpolation filled in."""
    container = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=False)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}
