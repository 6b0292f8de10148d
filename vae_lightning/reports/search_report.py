"""The report of a search: tables and pictures of its trials, and what its pruner has saved."""

import math
import os
import shlex
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from vae_lightning.reports.importances import Importances, draw_importances
from vae_lightning.reports.levels import shortened
from vae_lightning.reports.pareto_front import draw_front, front_of
from vae_lightning.reports.results import SweepResults, axis_column, measured, rank
from vae_lightning.reports.trial_pictures import draw_trials
from vae_lightning.reports.trials import Search, Trial
from vae_lightning.runs.directory import read_json
from vae_lightning.sweeps.study import SEARCH, STUDY, shown_storage

__all__ = ["best_trials", "chosen", "dashboard", "draw_search", "search_counts", "search_tables", "trial_table"]

# The most trials in the tables of summary.md; trials.csv and report.html have all of them.
MOST_ROWS = 50


def trial_table(search: Search) -> pd.DataFrame:
    """Return one row per trial, best first: number, state, objectives, parameters, epochs, seconds and jobs."""
    rows = []
    for trial in search.best_first():
        row: dict[str, Any] = {"number": trial.number, "state": trial.state}
        for name, value, std in zip(search.objectives, trial.values, trial.std, strict=True):
            row |= {name: value, f"{name} std": std}
        row |= {_column(name): trial.params.get(name) for name in search.scales}
        times = {"trained": trial.trained, "planned": trial.planned, "seconds": trial.seconds}
        rows.append(row | times | {"jobs": " ".join(trial.jobs)})
    return pd.DataFrame(rows)


def search_tables(search: Search) -> list[tuple[str, pd.DataFrame]]:
    """Return the titles and tables of a search: the Pareto front, and the trials, best first."""
    tables = []
    if len(search.objectives) > 1 and (front := front_of(search)):
        tables.append(("Pareto front", _readable(search, front)))
    trials = search.best_first()
    cut = f" ({MOST_ROWS} of {len(trials)}; trials.csv has all)" if len(trials) > MOST_ROWS else ""
    return [*tables, (f"Trials, best first{cut}", _readable(search, trials[:MOST_ROWS]))]


def best_trials(search: Search) -> list[Trial]:
    """Return the trials to choose from, best first: the Pareto front of several objectives, else the complete ones."""
    if len(search.objectives) > 1:
        return front_of(search)
    return [trial for trial in search.best_first() if trial.state == "complete"]


def chosen(found: SweepResults, search: Search | None) -> pd.DataFrame:
    """Return the row of the best configuration; no row if it has no complete job in this folder."""
    results, ranked, settings, objective = found
    if search is None or objective is None:
        return ranked.head(1)
    jobs = [job for trial in best_trials(search)[:1] for job in trial.jobs]
    return rank(results[results["job"].isin(jobs)], settings, objective).head(1)


def search_counts(search: Search) -> str:
    """Return how many trials have which state, and what pruning has saved."""
    states = pd.Series([trial.state for trial in search.trials], dtype=object).value_counts()
    counts = ", ".join(f"{count} {state}" for state, count in states.items())
    text = f"{len(search.trials)} trials" + f": {counts}" * bool(counts)
    pruned = [trial for trial in search.trials if trial.state == "pruned" and trial.planned]
    if not pruned:
        return text
    ended = [trial for trial in search.trials if trial.state in ("complete", "pruned")]
    trained, planned = (sum(getattr(trial, name) for trial in ended) for name in ("trained", "planned"))
    timed = [trial for trial in ended if trial.trained and math.isfinite(trial.seconds)]
    seconds = sum(trial.seconds for trial in timed)
    if not timed:
        return f"{text}; {trained} of {planned} epochs trained"
    # A trial's own speed, because the parameters may change it.
    rates = {trial.number: trial.seconds / trial.trained for trial in timed}
    rate = seconds / sum(trial.trained for trial in timed)
    saved = sum((trial.planned - trial.trained) * rates.get(trial.number, rate) for trial in pruned)
    return (
        f"{text}; {trained} of {planned} epochs trained, so that pruning saved about {_duration(saved)} of an "
        f"estimated {_duration(seconds + saved)}"
    )


def draw_search(search: Search, importances: Sequence[Importances]) -> list[tuple[str, str, Figure]]:
    """Return the name, title and figure of each picture of the trials."""
    pictures = draw_trials(search, [*importances[0].mean] if importances else [])
    front = draw_front(search) if len(search.objectives) > 1 else []
    return [*front, *pictures[:1], *draw_importances(search, importances), *pictures[1:]]


def dashboard(sweep: Path) -> str | None:
    """Return the command that shows a stored study in the browser; None if optuna-dashboard is not installed.

    A password in the storage's URL is hidden.
    """
    if find_spec("optuna_dashboard") is None:
        return None
    storage = read_json(sweep / SEARCH).get("storage") or f"sqlite:///{os.path.relpath(sweep / STUDY)}"
    return "optuna-dashboard " + shlex.quote(shown_storage(storage))


def _column(param: str) -> str:
    """Return the column of a parameter, which must not be one of a trial's own."""
    own = ("number", "trial", "state", "trained", "planned", "jobs")
    return f"{param} (axis)" if param in own else axis_column(param)


def _readable(search: Search, trials: Iterable[Trial]) -> pd.DataFrame:
    rows = []
    for trial in trials:
        row: dict[str, Any] = {
            name: measured(name, value, std)
            for name, value, std in zip(search.objectives, trial.values, trial.std, strict=True)
        }
        row |= {"trial": trial.number, "state": trial.state}
        row |= {_column(name): shortened(trial.params.get(name, "")) for name in search.scales}
        rows.append(row | {"epochs": f"{trial.trained} of {trial.planned}" if trial.planned else ""})
    return pd.DataFrame(rows)


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
