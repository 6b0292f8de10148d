"""Run a command with Hydra, and report errors in one line."""

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from vae_lightning.commands.arguments import hydra_arguments
from vae_lightning.config.choices import CONF
from vae_lightning.config.hydra_versions import MAIN, register_resolver
from vae_lightning.config.refusal import REFUSALS, end_unread, refuse, remove_empty
from vae_lightning.signals import Interrupted, interruption_kept
from vae_lightning.terminal import clear

__all__ = ["CONF", "run_command"]

# The folder of our plugins: Hydra looks for a namespace package, hydra_plugins, on the path. It goes last, even if it
# is already there, because Hydra imports plugins in the path's order and ours replace what others have stored.
_PLUGINS = str(Path(__file__).parents[1] / "_plugins")
sys.path[:] = [*(folder for folder in sys.path if folder != _PLUGINS), _PLUGINS]

# Hydra copies its sources for each composition, and for each group that --help or a completion lists. With them it
# copies the store of all configurations, which takes most of the time. The store itself returns copies alone.
ConfigStore.__deepcopy__ = lambda self, memo: self  # type: ignore[attr-defined]

# Beginnings of Hydra's plain ValueErrors: for data=null, for flags, and Python's for a number of thousands of digits.
_VALUE_ERRORS = ("Config group override", "Only one of --run", "The --resolve flag", "Exceeds the limit")


def run_command(task: Callable[[DictConfig], Any], config_name: str, bare: str | None = None) -> None:
    """Compose the configuration from the command line and run the task; on bad input, exit with status 2 and one line.

    Arguments:
        task: the function to call with the composed configuration. If it raises an InputError before it has written
            anything, the empty folder that Hydra made for it is removed.
        config_name: a file of ``conf``.
        bare: the key of an argument that is a path alone.
    """
    with_traceback = os.environ.get("HYDRA_FULL_ERROR", "0") not in ("", "0")
    os.environ["HYDRA_FULL_ERROR"] = "1"  # makes Hydra raise errors, because its own reports take many lines

    def guarded(cfg: DictConfig) -> Any:
        clear()
        logging.captureWarnings(True)  # into the log, which does not break progress bars
        try:
            with interruption_kept():
                return task(cfg)
        except BrokenPipeError:
            end_unread()
        except REFUSALS as error:
            remove_empty(HydraConfig.get().runtime.output_dir)
            if with_traceback or HydraConfig.get().mode == RunMode.MULTIRUN:
                raise
            refuse(error)  # here, because Hydra adds a line to every exception that it catches
        except Interrupted:
            remove_empty(HydraConfig.get().runtime.output_dir)
            raise

    guarded.__module__ = task.__module__
    register_resolver("help", _help, replace=True)
    try:
        sys.argv[1:] = hydra_arguments(sys.argv[1:], bare)
        hydra.main(config_path=str(CONF), config_name=config_name, **MAIN)(guarded)()
        sys.stdout.flush()  # here, where an error can be caught
    except BrokenPipeError:  # while Hydra printed something
        end_unread()
    except REFUSALS as error:
        if with_traceback:
            raise
        refuse(error)
    except ValueError as error:
        if with_traceback or not str(error).startswith(_VALUE_ERRORS):
            raise
        refuse(error)


def _help(_root_: DictConfig) -> str:
    """Return the value of ``${help:}``: the text of --help, as a template without placeholders."""
    from vae_lightning.commands.help import help_text  # here, because nothing else needs it

    return help_text(_root_, resolve="--resolve" in sys.argv).replace("$", "$$")
