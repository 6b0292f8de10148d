"""Run a search, or a grid with a pruner."""

from collections.abc import Sequence
from typing import Any

from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig

from vae_lightning.config.errors import InputError
from vae_lightning.config.resolving import resolved
from vae_lightning.sweeps.combinations import as_overrides
from vae_lightning.sweeps.grid import clears_up
from vae_lightning.sweeps.job_by_job import run_job_by_job
from vae_lightning.sweeps.search import Search
from vae_lightning.sweeps.search_space import SearchSpace

__all__ = ["run_grid", "run_search"]


def run_search(config: DictConfig, launcher: Launcher, loader: ConfigLoader, arguments: Sequence[str]) -> None:
    """Run a search over the axes in ``hydra.sweeper.params`` and on the command line.

    Arguments:
        config: the multirun's configuration, including the ``hydra`` node.
        launcher: Hydra's launcher.
        loader: Hydra's configuration loader.
        arguments: the command line's overrides.

    Raises:
        InputError: if a value is not allowed; nothing has been written then.
    """
    settings = _settings(config)
    with clears_up(config):
        parser = OverridesParser.create(config_loader=loader)
        parsed = parser.parse_overrides([*as_overrides(settings["params"]), *arguments])
        last = {override.get_key_element().lstrip("+"): override for override in parsed}
        last.pop("sweep.axes", None)  # seeds are one more
        axes = [str(override.input_line) for override in last.values() if override.is_sweep_override()]
        fixed = [str(override.input_line) for override in last.values() if not override.is_sweep_override()]
        if not axes:
            raise InputError("hydra.sweeper.params: must name at least one key to search, e.g. model.latent_dim")
        if settings.get("seeds") and "seed" in last:
            raise InputError(f"hydra.sweeper.seeds={settings['seeds']}: must be null if seed is given too")
        space = SearchSpace(loader, axes, settings.get("conditions") or {})
        launch(Search(settings, loader, config, fixed, space), launcher, settings.get("n_jobs"))


def run_grid(config: DictConfig, launcher: Launcher, loader: ConfigLoader, jobs: Sequence[Sequence[str]]) -> None:
    """Run the jobs of a grid, some of which its pruner ends.

    Arguments:
        config: the multirun's configuration, including the ``hydra`` node.
        launcher: Hydra's launcher.
        loader: Hydra's configuration loader.
        jobs: the overrides of each job.

    Raises:
        InputError: if the pruner is refused; nothing has been written then.
    """
    with clears_up(config):
        launch(Search(_settings(config), loader, config, [], jobs), launcher, None)


def _settings(config: DictConfig) -> dict[str, Any]:
    return resolved(config.hydra.sweeper)


def launch(search: Search, launcher: Launcher, at_a_time: int | None) -> None:
    """Run the jobs of a search in the way of the launcher: as stacks, in its own process, or several at a time.

    Arguments:
        search: the search.
        launcher: Hydra's launcher.
        at_a_time: the number of trials at a time; if None, the launcher decides.

    Raises:
        InputError: if the launcher cannot run several jobs at a time.
    """
    run_in_stacks = getattr(launcher, "run_search", None)
    if run_in_stacks is None and isinstance(launcher, BasicLauncher) and (at_a_time or 1) > 1:
        raise InputError(
            f"hydra.sweeper.n_jobs={at_a_time}: must be 1 or null without a launcher that runs several jobs at a time, "
            "e.g. hydra/launcher=stacked or submitit_local"
        )
    with search.running():
        if run_in_stacks is not None:
            run_in_stacks(search, at_a_time)
        else:
            own: int = getattr(launcher, "jobs_at_a_time", 1)
            run_job_by_job(search, launcher, at_a_time or own)
