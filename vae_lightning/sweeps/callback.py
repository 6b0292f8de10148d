"""The hooks before the first and after the last job of a sweep."""

import os
import shlex
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from hydra.core.plugins import Plugins
from hydra.experimental.callback import Callback as Hooks
from hydra.plugins.launcher import Launcher
from hydra.plugins.plugin import Plugin
from hydra.plugins.sweeper import Sweeper
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from vae_lightning.config.errors import InputError
from vae_lightning.config.extras import check_installed
from vae_lightning.config.refusal import REFUSALS, refuse
from vae_lightning.config.resolving import resolved
from vae_lightning.config.rules import check, check_choice
from vae_lightning.distributed import world_size
from vae_lightning.runs.checking import check_composed
from vae_lightning.runs.directory import METRICS, job_folders, locked
from vae_lightning.runs.new_folder import claim, is_named_by_second
from vae_lightning.runs.rules import SWEEP
from vae_lightning.signals import resumes_by
from vae_lightning.sweeps.combinations import axes_of
from vae_lightning.sweeps.fingerprints import read_files
from vae_lightning.sweeps.jobs import STOPPED
from vae_lightning.sweeps.objectives import check_objectives
from vae_lightning.sweeps.rules import EXTRAS, PACKAGES, SEARCH, STACKED, SWEEPER, prunes
from vae_lightning.sweeps.study import shown_storage
from vae_lightning.whole_files import leftovers
from vae_lightning.wrapping import fitted

__all__ = ["SweepCallback"]


class SweepCallback(Hooks):
    """Hooks before the first and after the last job of a multirun, independent of its sweeper and launcher."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Check the settings, find the sweep's axes, and pass them to every job as ``sweep.axes``.

        :func:`vae_lightning.sweeps.combinations.axes_of` says which overrides are axes.
        """
        try:
            _check(config)
            _begin(config)
        except REFUSALS as error:  # Hydra turns a callback's exceptions into warnings, except SystemExit
            refuse(error)

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Write the report and print a summary.

        Exit with status 1 if a job is neither complete nor pruned, unless another command is running it.
        """
        if sys.exception() is not None:  # Hydra 1.4 also calls this when the sweep was refused or interrupted
            return
        from vae_lightning.reports.report import closing_lines, write_report
        from vae_lightning.reports.results import ENDED

        sweep = Path(config.hydra.sweep.dir)
        # Before the report reads them, because a job may end at any time.
        elsewhere = {job.relative_to(sweep).as_posix() for job in job_folders(sweep) if _is_in_use(job)}
        results = write_report(sweep)
        print(f"\n{closing_lines(sweep)}")
        unfinished = results[~results["status"].isin(ENDED)]
        for job, status, why in zip(unfinished["job"], unfinished["status"], unfinished["why"], strict=True):
            line = f"{status:10} {os.path.relpath(sweep / job)}: {why}"
            print(fitted(line, sys.stderr, indent=11), file=sys.stderr)
        if not elsewhere.issuperset(unfinished["job"]):
            raise SystemExit(1)


def _is_in_use(job: Path) -> bool:
    """Return whether another process runs a job."""
    if (job / METRICS).exists():  # a quicker answer, for most jobs
        return False
    try:
        with locked(job):
            return False
    except InputError:
        return True


def _check(config: DictConfig) -> None:
    """Refuse settings that no sweep can have.

    Raises:
        InputError: for the first of them.
    """
    hydra = config.hydra
    if world_size() > 1:
        raise InputError("-m: must run without torchrun or srun's --ntasks, because a sweep starts its own processes")
    launcher = hydra.runtime.choices["hydra/launcher"]
    if extra := EXTRAS.get(launcher):
        # Hydra's plugin too: scikit-learn brings joblib, but not the launcher.
        check_installed(f"hydra/launcher={launcher}", extra, extra, f"hydra_plugins.hydra_{extra}_launcher")
    check_composed(config, hydra)
    check(config.sweep, SWEEP, "sweep.")
    for name, base in (("launcher", Launcher), ("sweeper", Sweeper)):
        _check_plugin(f"hydra.{name}", hydra[name], base)
    check(hydra.launcher, STACKED, "hydra.launcher.")
    check(resolved(hydra.sweeper), SWEEPER, "hydra.sweeper.")
    if prunes(hydra.sweeper.get("pruner")):
        check_installed(f"hydra.sweeper.pruner._target_={hydra.sweeper.pruner.get('_target_')}", "optuna")
    if "n_trials" in hydra.sweeper:
        check_installed(f"hydra/sweeper={hydra.runtime.choices['hydra/sweeper']}", "optuna")
        known = {"_target_", "_recursive_", "params", "pruner", *SEARCH}
        for key in map(str, hydra.sweeper):
            check_choice(f"hydra.sweeper.{key}={hydra.sweeper[key]}", key, known)
        check(resolved(hydra.sweeper), SEARCH, "hydra.sweeper.")
        for key, beginning, extra, package in PACKAGES:
            value = OmegaConf.select(hydra.sweeper, key)
            if str(value).startswith(beginning):
                check_installed(f"hydra.sweeper.{key}={shown_storage(str(value))}", extra, package)
    if config.resume is not None:
        raise InputError(f"resume={config.resume}: must be without -m; to resume a sweep, repeat its command")
    for key, is_axis in axes_of(hydra.sweeper, hydra.overrides.task).items():
        if key == "run_dir" or (is_axis and key.partition(".")[0] in ("resume", "sweep")):
            raise InputError(
                f"{key}: must not differ between the jobs of a sweep; hydra.sweep.subdir names their folders"
            )
    if "n_trials" in hydra.sweeper:
        check_objectives(config, _axes(config))


def _check_plugin(key: str, node: DictConfig | None, base: type[Plugin]) -> None:
    """Refuse a launcher or sweeper that is not one of Hydra's plugins.

    Raises:
        InputError: naming the key.
    """
    known = {f"{plugin.__module__}.{plugin.__name__}" for plugin in Plugins.instance().discover(base)}
    target = None if node is None else node.get("_target_")
    if target not in known:
        raise InputError(f"{key}._target_={target}: must be a plugin of Hydra, as {key.replace('.', '/')}=NAME selects")


def _axes(config: DictConfig) -> list[str]:
    return [key for key, is_axis in axes_of(config.hydra.sweeper, config.hydra.overrides.task).items() if is_axis]


def _begin(config: DictConfig) -> None:
    read_files.cache_clear()
    hydra, command = config.hydra, ["vae-train", *sys.argv[1:]]
    axes = ",".join(_axes(config))
    with read_write(hydra), open_dict(config):
        if _claims_folder(config):
            name = f"sweep.name={config.sweep.name}"
            hydra.overrides.task.append(name)  # as it is when the sweep is resumed
            command.append(name)
        hydra.overrides.task.append(f"sweep.axes=[{axes}]")
        sweep = Path(hydra.sweep.dir)
    resumes_by(lambda: f"{shlex.join(command)} resumes the sweep" if job_folders(sweep) else "nothing was written")
    sweep.mkdir(parents=True, exist_ok=True)
    (sweep / STOPPED).unlink(missing_ok=True)
    _clear_leftovers(sweep)


def _clear_leftovers(sweep: Path) -> None:
    """Clear what killed writes have left in the sweep's own folders, and in jobs that no other process uses."""
    jobs = job_folders(sweep)
    for part in list(leftovers(sweep)):
        job = next((job for job in jobs if part.is_relative_to(job)), None)
        if job is not None:
            with suppress(InputError), locked(job):  # which clears it
                pass
        else:
            part.unlink(missing_ok=True)


def _claims_folder(config: DictConfig) -> bool:
    """Create the folder of an unnamed sweep, and name the sweep so that it has the folder for itself.

    Returns:
        False if the sweep has a name, or its folder does not depend on the name: such a sweep is resumed.
    """
    name = config.sweep.name

    def folder_of(name: str) -> Path:
        config.sweep.name = name
        return Path(config.hydra.sweep.dir)

    # The second comparand leaves the name as it was.
    if not is_named_by_second(config.sweep, "name") or folder_of(f"{name}-2") == folder_of(name):
        return False
    config.sweep.name = claim(name, folder_of)
    return True
