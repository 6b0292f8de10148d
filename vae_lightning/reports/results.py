"""The results of a sweep: one row per job, and the ranked configurations."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from vae_lightning.config.errors import InputError
from vae_lightning.reports.curves import read_curves
from vae_lightning.runs.directory import FAILURE, JOB, PRUNED, RETRIED, job_folders, read_json, read_metrics

__all__ = ["ENDED", "SweepResults", "axis_column", "measured", "outcome", "rank", "read_jobs", "read_sweep"]

# Columns that an axis may not have: those of a job, of a configuration, and metrics.
_COLUMNS = ("job", "group", "status", "why", "runs", "seconds", "epochs", "fit_seconds", "total_seconds")
_METRICS = ("train/", "val/", "test/", "probe/", "gradient/", "speed/")
# The statuses of jobs that need not run again.
ENDED = ("complete", "pruned", "retried")


class SweepResults(NamedTuple):
    """The results of a sweep.

    Attributes:
        jobs: as :func:`read_jobs` returns them.
        ranked: the configurations, as :func:`rank` returns them.
        settings: the columns of the axes in which the configurations differ.
        objective: the metric by which they are ranked; None if no job's ``job.json`` can be read.
    """

    jobs: pd.DataFrame
    ranked: pd.DataFrame
    settings: list[str]
    objective: str | None


class _Job(NamedTuple):
    """What a job's folder holds; ``written`` is the time of its ``job.json``."""

    row: dict[str, Any]
    axes: list[str]
    objective: str | None
    written: float


def read_jobs(sweep: Path) -> pd.DataFrame:
    """Return one row per job: its name, values of the axes, status, ``why``, seconds and every final metric.

    The status is ``complete``, ``pruned`` if the sweep's pruner has ended the job, ``retried`` if another folder of the
    search has run the job's trial again, ``failed``, ``unfinished`` for a job that is still running or was interrupted,
    or ``damaged`` if one of its files cannot be read. The column ``why`` gives the reason for all but the first.
    """
    return _table(_read_jobs(sweep))


def rank(results: pd.DataFrame, axes: Sequence[str], objective: str) -> pd.DataFrame:
    """Rank the configurations from best to worst by the objective, averaged over seeds.

    Arguments:
        results: the jobs, as :func:`read_jobs` returns them.
        axes: the columns of the sweep's axes; metrics are averaged over ``seed`` if it is one of them.
        objective: a metric of validation or training; higher is better for accuracies, lower for all others.

    Returns:
        One row per configuration: its values, ``runs``, and ``METRIC`` and ``METRIC std`` (over seeds, with n - 1;
        missing for a single run) for each metric. No row if no job has the objective.
    """
    complete = results[results["status"] == "complete"]
    if objective not in complete:
        return pd.DataFrame()
    settings = [axis for axis in axes if axis != "seed"]
    metrics = [name for name in complete if "/" in name and name not in axes]
    # Values are compared as text, because a value may be a list.
    keys = [complete[axis].map(str) for axis in settings] or [pd.Series("", complete.index)]
    groups = complete.groupby(keys, sort=False)
    first = ~groups.ngroup().duplicated()
    columns = {axis: complete.loc[first, axis].infer_objects().to_list() for axis in settings}
    columns["runs"] = groups.size().to_list()
    means, deviations = groups[metrics].mean(), groups[metrics].std()
    for name in metrics:
        columns |= {name: means[name].to_list(), f"{name} std": deviations[name].to_list()}
    return pd.DataFrame(columns).sort_values(objective, ascending=not objective.endswith("_acc"), ignore_index=True)


def read_sweep(sweep: Path, objective: str | None = None) -> SweepResults:
    """Return the results of a sweep, ranked by a metric; by default that of the job that ran last."""
    jobs = _read_jobs(sweep)
    results = _table(jobs)
    by_time = sorted(jobs, key=lambda job: job.written)
    axes = list(dict.fromkeys(axis for job in by_time for axis in job.axes))
    stored = next((job.objective for job in reversed(by_time) if job.objective is not None), None)
    objective = objective or stored
    ranked = pd.DataFrame() if objective is None else rank(results, axes, objective)
    return SweepResults(results, ranked, [axis for axis in axes if axis != "seed"], objective)


def axis_column(axis: str) -> str:
    """Return the column of an axis: its name, unless another column may have that name."""
    return f"{axis} (axis)" if axis in _COLUMNS or axis.startswith(_METRICS) else axis


def measured(metric: str, mean: float, std: float) -> str:
    """Return a metric as text, ``mean ± std`` with the digits that the metric deserves; empty if the mean is NaN.

    The jobs of a stack share its time, which has no deviation.
    """
    digits = 4 if metric.endswith("_acc") else 2
    small = digits == 2 and 0 < abs(mean) < 0.1
    text, other = (f"{mean:#.3g}", f"{std:#.2g}") if small else (f"{mean:.{digits}f}", f"{std:.{digits}f}")
    return "" if pd.isna(mean) else text + ("" if pd.isna(std) or (small and std == 0) else f" ± {other}")


def _table(jobs: Iterable[_Job]) -> pd.DataFrame:
    rows, axes = [job.row for job in jobs], dict.fromkeys(axis for job in jobs for axis in job.axes)
    columns = dict.fromkeys(["job", *axes, "status", "why", *(name for row in rows for name in row)])
    # Values of the axes stay as they are, also if a job lacks one: an integer would become a float.
    return pd.DataFrame(
        {name: pd.Series([row.get(name) for row in rows], dtype=object if name in axes else None) for name in columns}
    )


def _read_jobs(sweep: Path) -> list[_Job]:
    return [_read_job(job, job.relative_to(sweep).as_posix()) for job in job_folders(sweep)]


def _read_job(job: Path, name: str) -> _Job:
    row: dict[str, Any] = {"job": name}
    axes: dict[str, Any] = {}
    objective = None
    try:
        axes, objective = _description(job)
        row |= axes | outcome(job)
    except InputError as error:
        row |= axes | {"status": "damaged", "why": str(error).removeprefix(f"{job}/")}
    return _Job(row, [*axes], objective, (job / JOB).stat().st_mtime)


def _description(job: Path) -> tuple[dict[str, Any], str]:
    description = read_json(job / JOB)
    axes, objective = description.get("axes"), description.get("objective")
    if not isinstance(axes, dict) or not isinstance(objective, str):
        raise InputError(f"{job / JOB}: is damaged (it must have axes and an objective); run it again")
    return {axis_column(axis): value for axis, value in axes.items()}, objective


def outcome(job: Path) -> dict[str, Any]:
    """Return the status of a run or job, the reason for it, and its metrics.

    Raises:
        InputError: if a file is damaged.
    """
    metrics = read_metrics(job)
    if metrics is not None:
        read_curves(job)
        return {"status": "complete", "why": "", "seconds": metrics.get("total_seconds"), **metrics}
    if (job / PRUNED).exists():
        pruned = read_json(job / PRUNED)
        if not all(isinstance(pruned.get(name), int) for name in ("epoch", "epochs")):
            raise InputError(f"{job / PRUNED}: is damaged (it must have epoch and epochs); run it again")
        read_curves(job)
        why = f"after epoch {pruned['epoch']} of {pruned['epochs']}"
        return {"status": "pruned", "why": why, "seconds": pruned.get("seconds")}
    if (job / RETRIED).exists():
        again = read_json(job / RETRIED).get("again")
        if not isinstance(again, int):
            raise InputError(f"{job / RETRIED}: is damaged (it must have again); run it again")
        return {"status": "retried", "why": f"its worker died; trial {again} has run in its place"}
    if (job / FAILURE).exists():
        why = str(read_json(job / FAILURE).get("error", "")).strip()
        if not why:
            raise InputError(f"{job / FAILURE}: is damaged (it has no text); run it again")
        return {"status": "failed", "why": why.splitlines()[0]}
    again = "run the sweep again to resume" if (job / JOB).exists() else f"vae-train resume={job} resumes it"
    return {"status": "unfinished", "why": f"still running, or interrupted: {again}"}
