"""The hooks before the first and after the last job of a sweep."""

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.experimental.callback import Callback as Hooks
from omegaconf import DictConfig, open_dict, read_write

from vae_lightning.config.errors import InputError
from vae_lightning.config.extras import check_installed
from vae_lightning.config.refusal import refuse
from vae_lightning.config.rules import check
from vae_lightning.distributed import world_size
from vae_lightning.runs.directory import JOB, locked
from vae_lightning.runs.rules import SWEEP
from vae_lightning.sweeps.jobs import STOPPED
from vae_lightning.sweeps.rules import EXTRAS, STACKED
from vae_lightning.sweeps.search import check_objective, remaining_trials
from vae_lightning.whole_files import leftovers

__all__ = ["SweepCallback"]


class SweepCallback(Hooks):
    """Hooks before the first and after the last job of a multirun, independent of its sweeper and launcher."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Check the settings, find the sweep's axes, and pass them to every job as ``sweep.axes``.

        An axis is an override with several values, on the command line or in ``hydra.sweeper.params``.
        """
        try:
            check(config.sweep, SWEEP, "sweep.")
            check(config.hydra.launcher, STACKED, "hydra.launcher.")
            if world_size() > 1:
                raise InputError(
                    "-m: must run without torchrun or srun's --ntasks, because a sweep starts its own processes"
                )
            launcher = config.hydra.runtime.choices["hydra/launcher"]
            if launcher in EXTRAS:
                check_installed(f"hydra/launcher={launcher}", EXTRAS[launcher])
        except InputError as error:
            refuse(error)
        sweep = Path(config.hydra.sweep.dir)
        params = config.hydra.sweeper.get("params") or {}
        given = [*(f"{key}={value}" for key, value in params.items()), *config.hydra.overrides.task]
        is_axis = {
            override.get_key_element().lstrip("+"): override.is_sweep_override()
            for override in OverridesParser.create().parse_overrides(given)
        }
        axes = [key for key, axis in is_axis.items() if axis]
        searches = "n_trials" in config.hydra.sweeper
        if searches:
            try:
                check_objective(config, axes)
            except InputError as error:
                refuse(error)
        with read_write(config), open_dict(config):
            config.hydra.overrides.task.append(f"sweep.axes=[{','.join(axes)}]")
        sweep.mkdir(parents=True, exist_ok=True)
        (sweep / STOPPED).unlink(missing_ok=True)
        _clear_leftovers(sweep)
        if searches:
            with read_write(config):  # Optuna always runs n_trials new ones
                config.hydra.sweeper.n_trials = remaining_trials(config.hydra.sweeper, sweep)

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Write the report and print a summary; exit with status 1 if a job is not complete."""
        from vae_lightning.sweeps.report import closing_lines, write_report

        sweep = Path(config.hydra.sweep.dir)
        results = write_report(sweep)
        print(f"\n{closing_lines(sweep)}")
        unfinished = results[results["status"] != "complete"]
        for job, status, why in zip(unfinished["job"], unfinished["status"], unfinished["why"], strict=True):
            print(f"{status:10} {os.path.relpath(sweep / job)}: {why}", file=sys.stderr)
        if len(unfinished):
            # Hydra turns a callback's exceptions into warnings, except SystemExit.
            raise SystemExit(1)


def _clear_leftovers(sweep: Path) -> None:
    """Clear what killed writes have left in the sweep's own folders, and in jobs that no other process uses."""
    for part in list(leftovers(sweep)):
        job = sweep / part.relative_to(sweep).parts[0]
        if (job / JOB).exists():
            with suppress(InputError), locked(job):  # which clears it
                pass
        else:
            part.unlink(missing_ok=True)
