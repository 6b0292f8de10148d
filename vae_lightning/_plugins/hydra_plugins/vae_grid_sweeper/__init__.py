"""Hydra's grid sweeper, which skips jobs that are already complete.

Hydra takes plugins only from the namespace package ``hydra_plugins`` and imports them at every start, so nothing heavy
is imported here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

__all__ = ["GridSweeper", "GridSweeperConf"]

# Every sweep of vae-train has this callback.
CALLBACK = "vae_lightning.sweeps.callback.SweepCallback"


class GridSweeper(BasicSweeper):
    """Runs every combination of values, like Hydra's basic sweeper, but examines all jobs before it writes anything.

    Axes may also be paired, and several grids may follow one another (:mod:`vae_lightning.sweeps.combinations`).

    Complete jobs are skipped without composing their configurations, which takes 0.1 s each. All others are checked, so
    that a bad value is refused before the first job starts and not after hours of valid jobs.

    With a pruner, the jobs are the trials of a study (:func:`vae_lightning.sweeps.running.run_grid`).

    In another application of the same environment, for which it is the default as well, it is Hydra's basic sweeper.
    """

    def __init__(
        self,
        max_batch_size: int | None = None,
        params: dict[str, str] | None = None,
        paired: Sequence[Sequence[str]] | None = None,
        grids: Sequence[Mapping[str, Any]] | None = None,
        pruner: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(max_batch_size, params)
        self.paired, self.grids, self.pruner = paired or [], grids or [{}], pruner

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.ours = config.hydra.callbacks.get("sweep", {}).get("_target_") == CALLBACK
        if self.ours:
            from vae_lightning.sweeps.compose_once import composing_once

            hydra_context = composing_once(hydra_context)
        super().setup(hydra_context=hydra_context, task_function=task_function, config=config)

    def split_arguments(  # type: ignore[override]  # a static method there, but called on the object
        self, overrides: list[Override], max_batch_size: int | None
    ) -> list[list[list[str]]]:
        if not self.ours:
            return BasicSweeper.split_arguments(overrides, max_batch_size)

        from vae_lightning.sweeps.combinations import as_overrides, combinations
        from vae_lightning.sweeps.grid import clears_up, remaining_jobs
        from vae_lightning.sweeps.pace import expect_jobs
        from vae_lightning.sweeps.rules import prunes

        assert self.config is not None
        assert self.hydra_context is not None
        loader = self.hydra_context.config_loader
        parser = OverridesParser.create(config_loader=loader)
        with clears_up(self.config):
            grids = (parser.parse_overrides(as_overrides(grid)) for grid in self.grids)
            # The last values of a key count: a grid's replace those of params, the command line's replace both.
            params, given = overrides[: len(self.params)], overrides[len(self.params) :]
            jobs = combinations(([*params, *grid, *given] for grid in grids), self.paired)
            remaining = remaining_jobs(loader, self.config, jobs)
        if prunes(self.pruner) and remaining:
            from vae_lightning.sweeps.running import run_grid

            assert self.launcher is not None
            run_grid(self.config, self.launcher, loader, jobs)
            return []
        expect_jobs(len(remaining))
        return list(self.split_overrides_to_chunks(remaining, max_batch_size)) if remaining else []

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Do nothing for our own jobs: every one has already been composed and checked."""
        if not self.ours:
            super().validate_batch_is_legal(batch)


@dataclass
class GridSweeperConf:
    """The keys of ``hydra.sweeper``.

    This is a class because launchers send the store to their workers: reading it there imports this module, and with it
    Hydra's sweeper, before the workers look for plugins. Otherwise Hydra's would take the place of ours once more.
    """

    _target_: str = f"{__name__}.GridSweeper"
    # The sweeper builds the pruner, which is refused in one line if it cannot be built.
    _recursive_: bool = False
    # Jobs handed to the launcher at a time; null: all.
    max_batch_size: Any = None
    # Keys and the values to sweep over, in addition to the command line's.
    params: Any = None
    # Lists of axes whose values go side by side, [[model.latent_dim,optimizer.lr]].
    paired: Any = None
    # A list of grids, each keys and values like params, run one after another.
    grids: Any = None
    # Ends hopeless jobs; a choice of hydra/sweeper/pruner with hydra/sweeper=grid.
    pruner: Any = None


# Stored in place of Hydra's default sweeper, so that it is the default and an experiment can choose another.
ConfigStore.instance().repo["hydra"]["sweeper"].pop("basic.yaml", None)
ConfigStore.instance().store(group="hydra/sweeper", name="basic", node=GridSweeperConf, provider="vae_lightning")
