"""Runs of any folders in one table, ranked among those that can be compared."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from vae_lightning.config.errors import InputError
from vae_lightning.reports.page.page import write_page
from vae_lightning.reports.results import SweepResults, axis_column, outcome, rank
from vae_lightning.runs.directory import run_folders
from vae_lightning.runs.stored_config import comparable_settings, read_config
from vae_lightning.whole_files import write_file

__all__ = ["read_runs", "write_run_set"]

# Settings of the data that leave the validation images as they are.
_OF_TRAINING = ("batch_size", "eval_batch_size", "seed", "device", "num_workers")
# Settings outside the data and the likelihood on which a loss depends.
_OF_VALIDATION = ("trainer.limit_val_batches", "trainer.overfit_batches")
# The columns that a table has in any case.
_ALWAYS = ("data", "model", "objective")


def read_runs(folders: Sequence[Path], base: Path, objective: str | None = None) -> SweepResults:
    """Return all runs in the given folders, and their configurations, ranked within each group.

    A group holds the runs whose losses can be compared: those with the same validation images and likelihood. Runs that
    differ only in their seed are one configuration.

    Arguments:
        folders: run directories, sweeps, and folders that hold them.
        base: the folder to which the column ``job`` is relative.
        objective: the metric that ranks; None for ``sweep.objective`` of the runs if it is the same for all, otherwise
            the validation loss.

    Returns:
        The jobs and configurations as :func:`vae_lightning.reports.results.read_sweep` returns them, with the columns
        ``group``, ``data``, ``model`` and ``objective``, and one for each setting in which the runs differ.

    Raises:
        InputError: if no complete run has the objective, although there are complete runs.
    """
    found = sorted({run for folder in folders for run in run_folders(folder)})
    rows: list[dict[str, Any]] = []
    settings: list[dict[str, Any]] = []
    objectives = set()
    for run in found:
        row: dict[str, Any] = {"job": os.path.relpath(run, base)}
        known: dict[str, Any] = {}
        try:
            config = read_config(run)
            known = comparable_settings(config)
            objectives.add(config.get("sweep", {}).get("objective"))
            row |= outcome(run)
        except InputError as error:
            row |= {"status": "damaged", "why": str(error).removeprefix(f"{run}/")}
        rows.append(row)
        settings.append(known)
    columns = _columns(settings)
    groups = _groups(settings)
    for row, known, group in zip(rows, settings, groups, strict=True):
        row["group"] = group
        row |= {column: _value(known.get(key)) for key, column in columns.items()}
    names = dict.fromkeys(["job", "group", *columns.values(), "status", "why", *(name for row in rows for name in row)])
    jobs = pd.DataFrame({name: [row.get(name) for row in rows] for name in names}, dtype=object).infer_objects()
    axes = [*columns.values()]
    if objective is None:
        only = next(iter(objectives)) if len(objectives) == 1 else None
        metric = only if isinstance(only, str) and only in jobs else "val/loss"
    elif objective in jobs:
        metric = objective
    else:
        complete = ", ".join(name for name in jobs if name.endswith(("/loss", "_acc"))) or "none"
        raise InputError(f"--by {objective}: must be a metric that a run has, one of {complete}")
    ranked = [
        rank(members, axes, metric).assign(group=group).dropna(subset=metric)
        for group, members in jobs.groupby("group", sort=True)
        if metric in members and members[metric].notna().any()
    ]
    configurations = pd.concat(ranked, ignore_index=True) if ranked else pd.DataFrame()
    return SweepResults(jobs, configurations, [axis for axis in axes if axis != "seed"], metric)


def write_run_set(folder: Path, found: SweepResults) -> list[Path]:
    """Write the table of all runs, ``results.csv``, and the page, ``report.html``, to a folder; return their paths.

    Arguments:
        folder: the folder, to which the column ``job`` is relative.
        found: the runs, as :func:`read_runs` returns them.
    """
    table, page = folder / "results.csv", folder / "report.html"
    write_file(table, found.jobs.to_csv(index=False))
    write_page(page, folder, folder.resolve().name, found, None)
    return [table, page]


def _columns(settings: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return the keys of the settings to show, with the names of their columns.

    Shown are the keys in which runs differ, one of several that always have the same value, and none that follows from
    the class to which it belongs.
    """
    keys = dict.fromkeys(key for known in settings for key in known)
    values = {key: tuple(str(known.get(key)) for known in settings) for key in keys}
    shown: dict[tuple[str, ...], str] = {}
    for key in sorted(keys, key=lambda key: (key.count("."), len(key), key)):
        if len({*values[key]}) > 1 and not _follows(key, values):
            shown.setdefault(values[key], key)
    chosen = [key for key in keys if key in shown.values()]
    always = [f"{name}._target_" for name in _ALWAYS if f"{name}._target_" in keys]
    chosen = list(dict.fromkeys([*always, *chosen]))
    short = {key: key.removesuffix("._target_").rpartition(".")[2] for key in chosen}
    several = [*short.values()]
    return {
        key: axis_column(name if several.count(name) == 1 else key.removesuffix("._target_"))
        for key, name in short.items()
    }


def _follows(key: str, values: Mapping[str, Sequence[str]]) -> bool:
    """Return whether the value of a key follows from the class of the node that holds it."""
    parent, _, name = key.rpartition(".")
    classes = values.get(f"{parent}._target_")
    if name == "_target_" or classes is None:
        return False
    return len({*zip(classes, values[key], strict=True)}) == len({*classes})


def _groups(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the group of each run as text: the class of the data and the likelihood, and what else differs."""
    relevant = [
        {
            key: value
            for key, value in known.items()
            if (key.startswith("data.") and key.rpartition(".")[2] not in _OF_TRAINING)
            or key.startswith("likelihood.")
            or key in _OF_VALIDATION
        }
        for known in settings
    ]
    texts = []
    for known in relevant:
        kin = [other for other in relevant if other.get("data._target_") == known.get("data._target_")]
        differing = [key for key in known if len({str(other.get(key)) for other in kin}) > 1]
        parts = [_value(known.get(f"{name}._target_", "unknown")) for name in ("data", "likelihood")]
        parts += [f"{key.rpartition('.')[2]}={known[key]}" for key in differing if key != "likelihood._target_"]
        texts.append(", ".join(map(str, parts)))
    return texts


def _value(value: Any) -> Any:
    """Return a value as the table shows it: a class by its name."""
    is_class = isinstance(value, str) and value.startswith("vae_lightning.")
    return value.rpartition(".")[2].removesuffix("DataModule") if is_class else value
