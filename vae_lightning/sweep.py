"""A sweep: what varies in it, what its jobs are called, and what becomes of a job that fails."""

import copy
import hashlib
import json
import logging
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback as Hooks
from omegaconf import DictConfig, OmegaConf, open_dict, read_write

from vae_lightning.checks import STACKED, SWEEP, InputError, check, check_installed
from vae_lightning.command import refuse
from vae_lightning.processes import world_size
from vae_lightning.run_directory import CONFIG, FAILURE, JOB, METRICS, cores, write_json

__all__ = [
    "SweepCallback",
    "axis_values",
    "complete_jobs",
    "composed_job",
    "fingerprint",
    "fingerprints",
    "job_description",
    "job_name",
    "lost_job",
    "run_job",
]

log = logging.getLogger(__name__)

STOPPED = "stopped"  # in a sweep's folder: a job failed, and sweep.on_failure is stop
# Launchers, and the extra that they need.
EXTRAS = {"ray": "ray", "submitit_local": "submitit", "submitit_slurm": "submitit"}
LONGEST_NAME = 120  # file systems allow 255 bytes


class SweepCallback(Hooks):
    """What a multirun does before its first job and after its last, whatever sweeper and launcher it has."""

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Find what varies, and tell every job as ``sweep.axes``.

        An axis is an override, of the command line or of ``hydra.sweeper.params``, that stands for several values.
        """
        try:
            check(config.sweep, SWEEP, "sweep.")
            check(config.hydra.launcher, STACKED, "hydra.launcher.")
            if world_size() > 1:
                raise InputError(
                    "-m: a sweep starts its jobs' processes itself; leave out torchrun, or srun's --ntasks"
                )
            launcher = config.hydra.runtime.choices["hydra/launcher"]
            if launcher in EXTRAS:
                check_installed(f"hydra/launcher={launcher}", EXTRAS[launcher])
        except InputError as error:
            refuse(error)
        sweep = Path(config.hydra.sweep.dir)
        params = config.hydra.sweeper.get("params") or {}
        given = [*(f"{key}={value}" for key, value in params.items()), *config.hydra.overrides.task]
        varies = {
            override.get_key_element().lstrip("+"): override.is_sweep_override()
            for override in OverridesParser.create().parse_overrides(given)
        }
        with read_write(config), open_dict(config):
            axes = ",".join(key for key, several in varies.items() if several)
            config.hydra.overrides.task.append(f"sweep.axes=[{axes}]")
            if "n_trials" in config.hydra.sweeper:
                # Optuna would run as many again.
                config.hydra.sweeper.n_trials = max(0, config.hydra.sweeper.n_trials - _finished_jobs(sweep))
        sweep.mkdir(parents=True, exist_ok=True)
        (sweep / STOPPED).unlink(missing_ok=True)

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Report what the jobs gave; end with status 1 if one failed."""
        from vae_lightning.report import closing_lines, write_report

        sweep = Path(config.hydra.sweep.dir)
        results = write_report(sweep)
        print(f"\n{closing_lines(sweep)}")
        unfinished = results[results["status"] != "complete"]
        for job, status, why in zip(unfinished["job"], unfinished["status"], unfinished["why"], strict=True):
            print(f"{status:10} {os.path.relpath(sweep / job)}: {why}", file=sys.stderr)
        if len(unfinished):
            # Hydra takes a callback's exceptions for warnings; this one is none of those that it catches.
            raise SystemExit(1)


def fingerprint(sources: Iterable[Any], overrides: Sequence[str]) -> str:
    """What a job's configuration is composed of: all files of the search path, the environment they name, overrides.

    Jobs of the same fingerprint have the same configuration; the reverse need not be so.

    Arguments:
        sources: Hydra's ``runtime.config_sources``, each with a ``schema`` and a ``path``.
        overrides: the job's, as ``key=value``.
    """
    return fingerprints(sources, [overrides])[0]


def fingerprints(sources: Iterable[Any], jobs: Iterable[Sequence[str]]) -> list[str]:
    """The :func:`fingerprint` of each of several jobs; the files are read once."""
    files = []
    for source in sources:
        if source.schema == "file":
            for file in sorted(Path(source.path).rglob("*.yaml")):
                content = file.read_text()
                named = [os.environ.get(name) for name in re.findall(r"oc\.env:(\w+)", content)]
                files.append(repr((str(file.relative_to(source.path)), content, named)))
    return [hashlib.sha256("".join([repr(sorted(overrides)), *files]).encode()).hexdigest() for overrides in jobs]


def complete_jobs(sweep: Path) -> set[str]:
    """The fingerprints of the complete jobs in a sweep's folder."""
    jobs = [job for job in sweep.glob(f"*/{JOB}") if (job.parent / METRICS).exists()]
    return {json.loads(job.read_text())["fingerprint"] for job in jobs}


def _finished_jobs(sweep: Path) -> int:
    return sum((job.parent / METRICS).exists() or (job.parent / FAILURE).exists() for job in sweep.glob(f"*/{JOB}"))


@contextmanager
def composed_job(cfg: DictConfig) -> Iterator[DictConfig]:
    """One job's configuration; within the context ``${hydra:...}`` gives the job's own values, as while it runs.

    Arguments:
        cfg: as Hydra's loader composes it, with its own part.
    """
    state = HydraConfig.instance()
    before = state.cfg
    try:
        state.set_config(cfg)  # the folder's name may need it
        runtime, folders = cfg.hydra.runtime, cfg.hydra.sweep
        with read_write(runtime), open_dict(runtime):
            runtime.output_dir = os.path.abspath(os.path.join(folders.dir, folders.subdir))
        state.set_config(cfg)
        task = copy.deepcopy(cfg)
        with read_write(task), open_dict(task):
            del task["hydra"]
        yield task
    finally:
        state.cfg = before


def run_job(cfg: DictConfig, train: Callable[[DictConfig], Mapping[str, float]]) -> float | None:
    """Run one job of a sweep; a failure is written to its folder and log, and the other jobs run on.

    Returns:
        The sweep's objective, for Hydra's sweepers; None if the job failed or has no such metric.

    Raises:
        InputError: if the job's folder holds a run of another configuration.
    """
    from vae_lightning.report import write_report

    job = Path(cfg.run_dir)
    if (job.parent / STOPPED).exists():
        log.warning("%s is not run: sweep.on_failure=stop, and a job has failed", job.name)
        return None
    complete = (job / METRICS).exists()
    description = job_description(cfg)
    if not (job / CONFIG).exists():
        write_json(job / JOB, description)
    try:
        metrics = train(cfg)
    except Exception as error:
        if isinstance(error, InputError) and (job / CONFIG).exists():
            raise  # a run of another configuration, which is to stay as it is
        log.exception("the job failed")
        _record_failure(cfg, f"{type(error).__name__}: {error}")
        metrics = {}
    write_json(job / JOB, description)
    if not (complete and metrics):  # one that was complete already changes nothing
        write_report(job.parent)
    return metrics.get(cfg.sweep.objective)


def lost_job(loader: ConfigLoader, sweep: DictConfig, overrides: Sequence[str], error: Exception) -> JobReturn:
    """What a launcher returns for a job whose worker died, by a signal or with its machine: a failure like any other.

    Arguments:
        loader: Hydra's.
        sweep: the multirun's configuration.
        overrides: the job's, as ``key=value``.
        error: what the engine says.
    """
    with composed_job(loader.load_sweep_config(sweep, list(overrides))) as cfg:
        job = Path(cfg.run_dir)
        if not (job / METRICS).exists():
            why = next(iter(str(error).splitlines()), "")
            write_json(job / JOB, job_description(cfg))
            _record_failure(cfg, f"its worker died ({type(error).__name__}: {why}); run the sweep again to go on")
        log.error("%s: its worker died", job.name)
    return JobReturn(overrides=overrides, status=JobStatus.COMPLETED)


def job_description(cfg: DictConfig) -> dict[str, Any]:
    """What of the sweep a job's folder is to tell."""
    hydra = HydraConfig.get()
    return {
        "axes": axis_values(cfg.sweep.axes, cfg),
        "objective": cfg.sweep.objective,
        "fingerprint": fingerprint(hydra.runtime.config_sources, hydra.overrides.task),
    }


def _record_failure(cfg: DictConfig, why: str) -> None:
    job = Path(cfg.run_dir)
    write_json(job / FAILURE, {"error": why})
    if cfg.sweep.on_failure == "stop":
        (job.parent / STOPPED).touch()


def axis_values(axes: Sequence[str] | None, root: DictConfig) -> dict[str, Any]:
    """The values that a job has on the sweep's axes, by short names: ``{"latent_dim": 20, "lr": 0.001}``.

    A name is the last part of the axis, or the whole axis where two end alike. The value of a group (``model``) is the
    choice made in it.
    """
    axes = axes or []
    last = [axis.rpartition(".")[2] for axis in axes]
    values = {}
    for axis, short in zip(axes, last, strict=True):
        value = OmegaConf.select(root, axis)
        if (isinstance(value, DictConfig) or value is None) and HydraConfig.initialized():
            value = HydraConfig.get().runtime.choices.get(axis, value)
        values[short if last.count(short) == 1 else axis] = (
            OmegaConf.to_object(value) if OmegaConf.is_config(value) else value
        )
    return values


def job_name(values: Mapping[str, Any]) -> str:
    """The values as the name of one folder, ``latent_dim=20,lr=0.001``; with a fingerprint where it can't hold them."""
    plain = ",".join(f"{name}={value}" for name, value in values.items()) or "job"
    safe = re.sub(r"[^\w.,=+\[\]-]+", "_", plain)[:LONGEST_NAME].strip(".")
    if safe != plain:
        safe = f"{safe}-{hashlib.sha256(plain.encode()).hexdigest()[:8]}"
    return safe


# How many jobs of so many cores this machine's cores are enough for.
OmegaConf.register_new_resolver("cores_over", lambda each: max(1, cores() // each), replace=True)
OmegaConf.register_new_resolver(
    "job_name",
    lambda axes, *, _root_: job_name(axis_values(axes, _root_)),
    replace=True,
)
