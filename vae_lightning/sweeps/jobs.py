"""Jobs of a sweep: run a job and record its failure."""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig

from vae_lightning.config.axes import axis_values
from vae_lightning.config.errors import InputError
from vae_lightning.runs.directory import CONFIG, FAILURE, JOB, METRICS, TRIAL, read_json
from vae_lightning.signals import interruption_kept
from vae_lightning.sweeps.composing import composed_job, load_job, sweep_folder
from vae_lightning.sweeps.fingerprints import fingerprint
from vae_lightning.sweeps.pace import announce_jobs
from vae_lightning.whole_files import write_json

__all__ = ["job_description", "lost_job", "run_job"]

log = logging.getLogger(__name__)
STOPPED = "stopped"  # a file in a sweep's folder: a job has failed with sweep.on_failure=stop


def run_job(cfg: DictConfig, train: Callable[..., Mapping[str, float]]) -> float | None:
    """Run one job of a sweep; a failure is recorded in its folder and log, and the other jobs continue.

    Arguments:
        cfg: the job's configuration.
        train: trains it; it also gets the function that reports its objective, or None outside a search.

    Returns:
        The sweep's objective, for Hydra's sweepers; None if the job failed or has no such metric.

    Raises:
        InputError: if the job's folder holds a run of another configuration.
    """
    from vae_lightning.reports.report import report_is_due, write_report

    job, sweep = Path(cfg.run_dir), sweep_folder()
    if (sweep / STOPPED).exists():
        log.warning("%s is not run, because a job has failed (sweep.on_failure=stop)", os.path.relpath(job, sweep))
        return None
    announce_jobs([job])
    complete = (job / METRICS).exists()
    description = job_description(cfg)
    if not (job / CONFIG).exists():
        write_json(job / JOB, description)
    metrics: Mapping[str, float] = {}
    try:
        with interruption_kept():
            metrics = train(cfg, _report(job))
    except Exception as error:
        if isinstance(error, InputError) and (job / CONFIG).exists():
            raise  # the folder holds a run of another configuration, which must stay unchanged
        log.exception("the job failed")
        _record_failure(cfg, f"{type(error).__name__}: {error}")
    write_json(job / JOB, description)
    if not (complete and metrics) and report_is_due(sweep):  # a job that was already complete changes nothing
        write_report(sweep)
    return metrics.get(cfg.sweep.objective)


def _report(job: Path) -> Callable[[int, float], bool] | None:
    """Return the function that reports the job's objective to its search; None if there is none."""
    try:
        trial = read_json(job / TRIAL)
    except FileNotFoundError:
        return None
    from vae_lightning.sweeps.pruning import TrialReport  # imports optuna

    return TrialReport(**trial)


def lost_job(
    loader: ConfigLoader, sweep: DictConfig, overrides: Sequence[str], number: int, error: Exception
) -> JobReturn:
    """Record the failure of a job whose worker died, by a signal or with its machine; return the result for Hydra.

    Arguments:
        loader: Hydra's configuration loader.
        sweep: the multirun's configuration.
        overrides: the job's overrides, as ``key=value``.
        number: the job's place in the sweep.
        error: the error that the engine raised.
    """
    with composed_job(load_job(loader, sweep, overrides, number)) as cfg:
        job = Path(cfg.run_dir)
        if not (job / METRICS).exists():
            why = next(iter(str(error).splitlines()), "")
            write_json(job / JOB, job_description(cfg))
            _record_failure(cfg, f"its worker died ({type(error).__name__}: {why}); run the sweep again to resume")
        log.error("%s: its worker died", os.path.relpath(job, sweep_folder()))
    return JobReturn(overrides=overrides, status=JobStatus.COMPLETED)


def job_description(cfg: DictConfig) -> dict[str, Any]:
    """Return the content of ``job.json``: the job's axes with their values, the sweep's objective and a fingerprint."""
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
        (sweep_folder() / STOPPED).touch()
