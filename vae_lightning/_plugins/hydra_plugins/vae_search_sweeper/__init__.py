"""Hydra's sweeper for a search with Optuna.

Hydra imports its plugins at every start, so nothing heavy is imported here. The preset, where each key is explained, is
conf/hydra/sweeper/search.yaml.
"""

from typing import Any

from hydra.core.plugins import Plugins
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

__all__ = ["SearchSweeper"]


class SearchSweeper(Sweeper):
    """Runs the trials that a sampler of Optuna chooses, and ends those that a pruner gives up.

    Arguments:
        settings: see :class:`vae_lightning.sweeps.search.Search`.
    """

    def __init__(self, **settings: Any) -> None:
        self.settings = settings
        self.config: DictConfig | None = None
        self.launcher: Launcher | None = None
        self.hydra_context: HydraContext | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        from vae_lightning.sweeps.compose_once import composing_once

        self.hydra_context, self.config = composing_once(hydra_context), config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=self.hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> None:
        from vae_lightning.sweeps.running import run_search

        assert self.config is not None
        assert self.launcher is not None
        assert self.hydra_context is not None
        run_search(self.config, self.launcher, self.hydra_context.config_loader, arguments)
