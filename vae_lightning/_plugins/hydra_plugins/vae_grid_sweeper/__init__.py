"""Hydra's grid sweeper, without the jobs that are complete already.

Hydra takes plugins from the namespace package ``hydra_plugins`` alone and imports them at every start, so nothing heavy
is imported here.
"""

import logging
from collections.abc import Sequence
from pathlib import Path

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.types import Override

__all__ = ["GridSweeper"]

log = logging.getLogger(__name__)


class GridSweeper(BasicSweeper):
    """Every combination of values, as Hydra's basic sweeper, with two things before anything is written or run.

    Complete jobs are left out without composing their configurations, which takes a tenth of a second each. The others
    are all checked, so that one bad value is refused before the first job and not found after hours of good ones.
    """

    def split_arguments(  # type: ignore[override]  # there a static method, called on the object
        self, overrides: list[Override], max_batch_size: int | None
    ) -> list[list[list[str]]]:
        from vae_lightning.checks import check_config, check_trackers
        from vae_lightning.command import remove_empty, resolved
        from vae_lightning.run_directory import check_same
        from vae_lightning.sweep import complete_jobs, composed_job, fingerprints

        assert self.config is not None
        assert self.hydra_context is not None
        (jobs,) = super().split_arguments(overrides, None)
        sweep = Path(self.config.hydra.sweep.dir)
        complete = complete_jobs(sweep)
        known = zip(jobs, fingerprints(self.config.hydra.runtime.config_sources, jobs), strict=True)
        remaining = [job for job, found in known if "restart=true" in job or found not in complete]
        if len(remaining) < len(jobs):
            log.info("%d of %d jobs are complete", len(jobs) - len(remaining), len(jobs))
        try:
            for job in remaining:
                with composed_job(self.hydra_context.config_loader.load_sweep_config(self.config, job)) as cfg:
                    config = resolved(cfg)
                    check_config(config)
                    check_trackers(config["logger"])
                    check_same(Path(config["run_dir"]), config)
        except Exception:
            remove_empty(str(sweep))
            raise
        return list(self.split_overrides_to_chunks(remaining, max_batch_size)) if remaining else []

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Nothing: every job has been composed and checked already."""


# Under Hydra's own name for its default, so that it is the default here, and an experiment can still choose another.
ConfigStore.instance().store(
    group="hydra/sweeper",
    name="basic",
    node={
        "_target_": f"{__name__}.GridSweeper",
        "max_batch_size": None,  # jobs handed to the launcher at a time; null: all
        "params": None,  # keys and the values to sweep over, beside those of the command line
    },
    provider="vae_lightning",
)
