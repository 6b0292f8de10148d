"""The data of a report's page, as plain values for JSON."""

import math
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd

from vae_lightning.config.errors import InputError
from vae_lightning.palette import ON_ANY_GROUND
from vae_lightning.reports.curves import read_curves
from vae_lightning.reports.importances import Importances
from vae_lightning.reports.page.facts import read_facts
from vae_lightning.reports.page.pictures import ROOM, embedded_pictures
from vae_lightning.reports.pareto_front import front_of
from vae_lightning.reports.results import SweepResults, measured, rank
from vae_lightning.reports.search_report import chosen
from vae_lightning.reports.trials import Search

__all__ = ["page_content"]

# The most numbers in the curves of a page, each of about 7 bytes.
NUMBERS = 70_000
# Fewer points would be no curve; a page is too narrow to show more.
FEWEST, MOST = 8, 300
# Columns that are no metrics, although they hold numbers.
_NO_METRICS = ("job", "group", "status", "why", "seed", "seconds")


def page_content(
    base: Path, folder: Path, found: SweepResults, search: Search | None, importances: Sequence[Importances]
) -> dict[str, Any]:
    """Return what the page shows.

    Arguments:
        base: the folder to which the names of the jobs are relative.
        folder: the page's folder.
        found: the jobs.
        search: the trials, if the jobs are those of a search.
        importances: those of the search's parameters.
    """
    jobs, settings = found.jobs, found.settings
    groups = [*jobs["group"].value_counts().index] if "group" in jobs else [None]
    metrics = [
        name
        for name in jobs
        if name not in (*settings, *_NO_METRICS) and pd.api.types.is_numeric_dtype(jobs[name]) and not _of_test(name)
    ]
    to_base = Path(os.path.relpath(base, folder)).as_posix()
    objectives = search.objectives if search else [found.objective] if found.objective else []
    higher = search.higher if search else [name.endswith("_acc") for name in objectives]
    rows: list[dict[str, Any]] = []
    for row in jobs.astype(object).to_dict("records"):
        rows.append(
            {
                "job": row["job"],
                "href": quote(f"{to_base}/{row['job']}/"),
                "group": str(row.get("group", "")),
                "status": row["status"],
                "why": row["why"],
                "seed": _plain(row.get("seed")),
                "values": [_plain(row[axis]) for axis in settings],
                "metrics": [_number(row[name]) for name in metrics],
                "seconds": _number(row.get("seconds")),
            }
        )
    return {
        "objectives": [{"name": name, "higher": high} for name, high in zip(objectives, higher, strict=True)],
        "axes": settings if search is None else _short([*search.scales]),
        "scales": [] if search is None else [*search.scales.values()],
        "job_axes": settings,
        "metrics": metrics,
        "jobs": rows,
        "configurations": _configurations(rows) if search is None else _trials(search, rows),
        "curves": _curves(base, rows, _best_first(found)),
        "groups": [
            _group(base, name, found if name is None else _within(found, name), search, ROOM // max(1, len(groups)))
            for name in groups
        ],
        "search": None if search is None else _search(search, importances),
        "colours": [*ON_ANY_GROUND],
    }


def _of_test(metric: str) -> bool:
    """Return whether a metric is one of the test set, which is shown only for the best configuration."""
    return "test" in re.split("[/_]", metric)


def _plain(value: Any) -> str | int | float | bool | None:
    """Return the value of an axis for JSON: lists and numbers that JSON lacks as text."""
    value = value.item() if hasattr(value, "item") else value
    if value is None or isinstance(value, str | bool | int):
        return value
    return value if isinstance(value, float) and math.isfinite(value) else str(value)


def _number(value: Any, digits: int = 6) -> float | None:
    number = math.nan if value is None else float(value)
    return float(f"{number:.{digits}g}") if math.isfinite(number) else None


def _short(names: Sequence[str]) -> list[str]:
    """Return the last parts of the names, or the whole ones where two end alike."""
    last = [name.rpartition(".")[2] for name in names]
    return [short if last.count(short) == 1 else name for name, short in zip(names, last, strict=True)]


def _configurations(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the configurations of a sweep: jobs that differ only in the seed are one."""
    found: dict[str, dict[str, Any]] = {}
    for place, row in enumerate(rows):
        key = str((row["group"], row["values"]))
        found.setdefault(key, {"values": row["values"], "jobs": []})["jobs"].append(place)
    return [*found.values()]


def _trials(search: Search, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the trials of a search, with the values of its study, which may know trials of other folders."""
    places = {row["job"]: place for place, row in enumerate(rows)}
    return [
        {
            "trial": trial.number,
            "status": trial.state,
            "values": [_plain(trial.params[name]) if name in trial.params else None for name in search.scales],
            "jobs": [places[job] for job in trial.jobs if job in places],
            "given": {
                name: [_number(value), _number(std)]
                for name, value, std in zip(search.objectives, trial.values, trial.std, strict=True)
            },
            "last": _number(next(reversed(trial.steps.values()), None)),
        }
        for trial in search.trials
    ]


def _best_first(found: SweepResults) -> list[int]:
    """Return the places of the jobs, those with the best objective first."""
    if found.objective not in found.jobs:
        return [*range(len(found.jobs))]
    column = found.jobs[found.objective].reset_index(drop=True)
    return [*column.sort_values(ascending=not str(found.objective).endswith("_acc"), kind="stable").index]


def _curves(base: Path, rows: Sequence[dict[str, Any]], order: Sequence[int]) -> list[dict[str, Any] | None]:
    """Return each job's curves by metric, thinned, and None for jobs for which the page has no room."""
    found: list[dict[str, Any] | None] = [None] * len(rows)
    room = NUMBERS
    each = NUMBERS // max(1, len(rows))
    for place in order:
        curves: dict[str, list[float]] = {}
        with suppress(InputError):  # the job's status says that it is damaged
            curves = read_curves(base / rows[place]["job"])
        names = [
            name
            for name, values in curves.items()
            if name not in ("epoch", "step") and not _of_test(name) and sum(map(math.isfinite, values)) > 1
        ]
        if not names:
            continue
        count = len(curves["epoch"])
        points = min(count, MOST, max(FEWEST, each // (len(names) + 1)))
        kept = sorted({round(step * (count - 1) / max(1, points - 1)) for step in range(points)})
        room -= len(kept) * (len(names) + 1)
        if room < 0:
            break
        thinned = {name: [_number(curves[name][step], digits=5) for step in kept] for name in names}
        found[place] = {"epoch": [int(curves["epoch"][step]) + 1 for step in kept], **thinned}
    return found


def _within(found: SweepResults, group: str) -> SweepResults:
    """Return the results of a group, ranked among themselves."""
    jobs = found.jobs[found.jobs["group"] == group]
    ranked = pd.DataFrame() if found.objective is None else rank(jobs, found.settings, found.objective)
    return found._replace(jobs=jobs, ranked=ranked)


def _group(base: Path, name: str | None, found: SweepResults, search: Search | None, room: int) -> dict[str, Any]:
    """Return what holds for all jobs of a group, and what is shown of its best configuration alone."""
    best, test = chosen(found, search), {}
    if len(best) and (search is None or len(search.objectives) == 1):
        row = best.iloc[0]
        test = {metric: measured(metric, row[metric], row[f"{metric} std"]) for metric in _test_metrics(best)}
    differing = [axis for axis in found.settings if found.jobs[axis].map(str).nunique() > 1]
    ordered = [found.jobs["job"].iloc[place] for place in _best_first(found)]
    keys = [str(best[axis].iloc[0]) for axis in found.settings] if len(best) else []
    same = [found.jobs[axis].map(str) == key for axis, key in zip(found.settings, keys, strict=False)]
    complete = found.jobs[pd.concat([*same, found.jobs["status"] == "complete"], axis=1).all(axis=1)]["job"].to_list()
    shown = next((job for job in ordered if job in complete), None) if len(best) else None
    return {
        "name": name or "",
        "facts": read_facts(base, ordered, found._replace(settings=differing)),
        "test": [*test.items()],
        "job": shown,
        "pictures": [] if shown is None else embedded_pictures(base / shown, room),
    }


def _test_metrics(best: pd.DataFrame) -> list[str]:
    return [name for name in best if _of_test(name) and f"{name} std" in best and not pd.isna(best[name].iloc[0])]


def _search(search: Search, importances: Sequence[Importances]) -> dict[str, Any]:
    short = dict(zip(search.scales, _short([*search.scales]), strict=True))
    return {
        "front": [trial.number for trial in front_of(search)] if len(search.objectives) > 1 else [],
        "importances": [
            {
                "objective": found.objective,
                "names": [short[name] for name in found.mean],
                "mean": [_number(value) for value in found.mean.values()],
                "std": [_number(value) for value in found.std.values()],
            }
            for found in importances
        ],
    }
