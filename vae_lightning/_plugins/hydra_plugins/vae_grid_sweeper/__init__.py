"""Hydra's grid sweeper, which skips jobs that are already complete.

Hydra takes plugins only from the namespace package ``hydra_plugins`` and imports them at every start, so nothing heavy
is imported here.
"""

from collections.abc import Sequence

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.types import Override

__all__ = ["GridSweeper"]


class GridSweeper(BasicSweeper):
    """Runs every combination of values, like Hydra's basic sweeper, but examines all jobs before it writes anything.

    Complete jobs are skipped without composing their configurations, which takes 0.1 s each. All others are checked, so
    that a bad value is refused before the first job starts and not after hours of valid jobs.
    """

    def split_arguments(  # type: ignore[override]  # a static method there, but called on the object
        self, overrides: list[Override], max_batch_size: int | None
    ) -> list[list[list[str]]]:
        from vae_lightning.sweeps.grid import remaining_jobs

        assert self.config is not None
        assert self.hydra_context is not None
        (jobs,) = super().split_arguments(overrides, None)
        remaining = remaining_jobs(self.hydra_context.config_loader, self.config, jobs)
        return list(self.split_overrides_to_chunks(remaining, max_batch_size)) if remaining else []

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Do nothing: every job has already been composed and checked."""


# Stored in place of Hydra's default sweeper, so that it is the default and an experiment can choose another.
ConfigStore.instance().repo["hydra"]["sweeper"].pop("basic.yaml", None)
ConfigStore.instance().store(
    group="hydra/sweeper",
    name="basic",
    node={
        "_target_": f"{__name__}.GridSweeper",
        "max_batch_size": None,  # jobs handed to the launcher at a time; null: all
        "params": None,  # keys and the values to sweep over, in addition to the command line's
    },
    provider="vae_lightning",
)
