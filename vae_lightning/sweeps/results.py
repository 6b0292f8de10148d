"""The results of a sweep: one row per job, and the ranked configurations."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from vae_lightning.runs.directory import FAILURE, JOB, METRICS

__all__ = ["rank", "read_jobs"]


def read_jobs(sweep: Path) -> pd.DataFrame:
    """Return one row per job: its name, values of the axes, status, ``why``, seconds and every final metric.

    The status is ``complete``, ``failed``, or ``unfinished`` for a job that is still running or was interrupted. The
    column ``why`` gives the reason for the last two.
    """
    rows = []
    for file in sorted(sweep.glob(f"*/{JOB}")):
        job = file.parent
        row: dict[str, Any] = {"job": job.name, **_axis_values(job)}
        if (job / METRICS).exists():
            metrics = json.loads((job / METRICS).read_text())
            row |= {"status": "complete", "why": "", "seconds": metrics["total_seconds"], **metrics}
        elif (job / FAILURE).exists():
            row |= {"status": "failed", "why": json.loads((job / FAILURE).read_text())["error"].splitlines()[0]}
        else:
            row |= {"status": "unfinished", "why": "still running, or interrupted: run the sweep again to resume"}
        rows.append(row)
    return pd.DataFrame(rows)


def rank(results: pd.DataFrame, axes: Sequence[str], objective: str) -> pd.DataFrame:
    """Rank the configurations from best to worst by the objective, averaged over seeds.

    Arguments:
        results: the jobs, as :func:`read_jobs` returns them.
        axes: the sweep's axes; metrics are averaged over ``seed`` if it is one of them.
        objective: a metric of validation or training; higher is better for accuracies, lower for all others.

    Returns:
        One row per configuration: its values, ``runs``, and ``METRIC`` and ``METRIC std`` (over seeds, with n - 1;
        missing for a single run) for each metric.
    """
    complete = results[results["status"] == "complete"]
    if objective not in complete:
        return pd.DataFrame()
    settings = [axis for axis in axes if axis != "seed"]
    metrics = [name for name in complete if "/" in name]
    keys = [complete[axis].map(str) for axis in settings] or [pd.Series("", complete.index)]
    ranked = []
    for _, group in complete.groupby(keys, sort=False):
        row = {axis: group[axis].iloc[0] for axis in settings} | {"runs": len(group)}
        for name in metrics:
            row |= {name: group[name].mean(), f"{name} std": group[name].std()}
        ranked.append(row)
    return pd.DataFrame(ranked).sort_values(objective, ascending=not objective.endswith("_acc"), ignore_index=True)


def read_sweep(sweep: Path) -> tuple[pd.DataFrame, pd.DataFrame, list[str], str]:
    """Return the jobs, the ranked configurations, the axes in which these differ, and the objective."""
    results = read_jobs(sweep)
    jobs = sorted(sweep.glob(f"*/{JOB}"), key=lambda file: file.stat().st_mtime)
    axes = list(dict.fromkeys(axis for file in jobs for axis in _axis_values(file.parent)))
    objective = json.loads(jobs[-1].read_text())["objective"]
    return results, rank(results, axes, objective), [axis for axis in axes if axis != "seed"], objective


def _axis_values(job: Path) -> dict[str, Any]:
    axes: dict[str, Any] = json.loads((job / JOB).read_text())["axes"]
    return axes
