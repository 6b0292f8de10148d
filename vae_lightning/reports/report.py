"""The report of a sweep: results.csv, summary.md and report.html; of a search, also trials.csv."""

import os
import shlex
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from vae_lightning.config.errors import one_line
from vae_lightning.reports.curves import draw_sweep_curves
from vae_lightning.reports.edges import edge_lines
from vae_lightning.reports.heat_maps import draw_metrics
from vae_lightning.reports.importances import find_importances
from vae_lightning.reports.levels import shortened
from vae_lightning.reports.page.page import write_page
from vae_lightning.reports.results import ENDED, SweepResults, measured, read_sweep
from vae_lightning.reports.search_report import (
    best_trials,
    chosen,
    dashboard,
    draw_search,
    search_counts,
    search_tables,
    trial_table,
)
from vae_lightning.reports.seed_means import write_seed_means
from vae_lightning.reports.trade_off import draw_trade_off
from vae_lightning.reports.trials import Search, read_search
from vae_lightning.runs.directory import job_folders
from vae_lightning.runs.rules import SWEEP
from vae_lightning.trackers.event_files import is_in_tensorboard
from vae_lightning.whole_files import write_figure, write_file
from vae_lightning.wrapping import fitted

__all__ = ["closing_lines", "report_is_due", "write_report"]

# Validation metrics of every configuration, and test metrics of the best one only.
SHOWN = ["val/loss", "val/recon", "val/kl", "probe/val_acc"]
# Where gradients are measured, also what an estimator is worth and what it costs.
SHOWN_OF_GRADIENTS = ["gradient/bias", "gradient/noise", "gradient/variance", "speed/step_seconds"]
STEP_SECONDS = (
    "speed/step_seconds is the time of an optimiser step, without validation and measurements; for a job in a stack it "
    "is the stack's, divided by its models."
)
SHOWN_OF_TEST = ["test/loss", "test/recon", "test/kl", "probe/test_acc"]
PICTURES = {"val_loss", "probe_val_acc", "trade_off", "curves"}
PICTURES |= {"history", "slices", "pairs", "parallel", "importances", "pruning", "pareto_front"}
# The configurations that a sweep names at its end.
PLACES = ("best", "second", "third", "fourth", "fifth")
# A sweep spends at most this share of its time on reports.
SHARE = 0.05


def report_is_due(sweep: Path) -> bool:
    """Return whether to write the report after a job, as time permits; the end of the sweep writes it in any case.

    A report reads every job, so that reports after each of n jobs would take a time that grows with n squared. Those of
    a search take seconds from the first trials on.
    """
    try:
        began, ended = ((sweep / name).stat().st_mtime for name in ("results.csv", "report.html"))
    except FileNotFoundError:
        return True
    return time.time() - ended >= (ended - began) / SHARE


def write_report(sweep: Path, objective: str | None = None) -> pd.DataFrame:
    """Write a sweep's tables and pictures to its folder; return the results of its jobs.

    Arguments:
        sweep: the sweep's folder.
        objective: the metric that ranks the configurations of a grid; None for the sweep's own.
    """
    began = time.time()
    found = read_sweep(sweep, objective)
    results, ranked, settings, objective = found
    search, unread = _search(sweep)
    write_file(sweep / "results.csv", results.to_csv(index=False))
    os.utime(sweep / "results.csv", (began, began))  # when its jobs were read: report_is_due needs a report's duration
    counts = ", ".join(f"{count} {status}" for status, count in results["status"].value_counts().items())
    ranking = f"Ranked by {', '.join(search.objectives) if search else objective}"
    ranking += "; metrics are means over seeds ± standard deviation."
    if "gradient/variance" in ranked:
        ranking += f" {STEP_SECONDS}"
    head = f"{len(results)} jobs: {counts}. {_unranked(found) or ranking}{unread}"
    if search is not None:
        head = f"{search_counts(search)}. {head}"
        write_file(sweep / "trials.csv", trial_table(search).to_csv(index=False))
    markdown = [f"# {sweep.name}", head]
    for title, table in _tables(found, search):
        markdown += [f"## {title}", _markdown(table)]
    importances = find_importances(search) if search is not None else []
    # The points of a search lie on no grid.
    pictures = draw_metrics(ranked, settings) if search is None else draw_search(search, importances)
    write_seed_means(sweep, results, settings)
    pictures += draw_trade_off(ranked, settings) + draw_sweep_curves(sweep, results, settings, objective)
    for name in PICTURES - {name for name, _, _ in pictures}:  # left by a report on fewer jobs
        (sweep / "figures" / f"{name}.png").unlink(missing_ok=True)
    for name, _, figure in pictures:
        write_figure(sweep / "figures" / f"{name}.png", figure)
    write_file(sweep / "summary.md", "\n\n".join(markdown) + "\n")
    write_page(sweep / "report.html", sweep, sweep.name, found, search, head, importances)
    return results


def closing_lines(sweep: Path, objective: str | None = None) -> str:
    """Return the lines that a sweep prints at its end: the best configurations, and the paths of the results.

    Arguments:
        sweep: the sweep's folder.
        objective: as for :func:`write_report`.
    """
    found = read_sweep(sweep, objective)
    search, unread = _search(sweep)
    folder = Path(os.path.relpath(sweep))
    best = _best(found, search)
    width = max((len(values) for values, _ in best), default=0)
    several = search is not None and len(search.objectives) > 1
    lines = [
        f"{'front' if several else place:10} {f'{values:{width}}   ' if width else ''}{metrics}"
        for place, (values, metrics) in zip(PLACES, best, strict=False)
    ]
    if search is None:
        lines[1:1] = [f"{'':10} {line}" for line in edge_lines(sweep, found.jobs, found.ranked, found.settings)]
    best_row = chosen(found, search)
    if len(best_row) and not several:
        of_test = _formatted(best_row, [], ["test/loss", "probe/test_acc"]).iloc[0].drop("runs")
        lines[1:1] = [f"{'test':10} {'   '.join(f'{name} {value}' for name, value in of_test.items())}"] * bool(
            len(of_test)
        )
    if not lines and (why := _unranked(found)):
        lines.append(f"{'no best':10} {why}")
    if search is not None:
        lines.append(f"{'trials':10} {search_counts(search)}")
    elif pruned := int((found.jobs["status"] == "pruned").sum()):
        lines.append(f"{'pruned':10} {pruned} of {len(found.jobs)} jobs")
    if unread:
        lines.append(f"{'no study':10}{unread}")
    lines = [fitted(line, sys.stdout, indent=11) for line in lines]  # not the paths and commands below
    lines += [f"{'results':10} {folder / 'results.csv'}", f"{'report':10} {folder / 'report.html'}"]
    if any(map(is_in_tensorboard, job_folders(sweep))):
        lines.append(f"{'monitor':10} tensorboard --logdir {shlex.quote(str(folder))}")
    if search is not None and (command := dashboard(sweep)):
        lines.append(f"{'dashboard':10} {command}")
    return "\n".join(lines)


def _search(sweep: Path) -> tuple[Search | None, str]:
    """Return the search, if the sweep is one, and why it cannot be read, if it cannot."""
    try:
        return read_search(sweep), ""
    except Exception as error:  # of any database: the jobs' files still make a report
        return None, f" The study of the search cannot be read ({one_line(error)}), so the report lacks its trials."


def _best(found: SweepResults, search: Search | None) -> list[tuple[str, str]]:
    """Return the values and the objectives of the best configurations as texts, best first."""
    if search is not None:
        best = {  # trials of the same values are one configuration
            ", ".join(f"{name}={shortened(value)}" for name, value in trial.params.items()): "   ".join(
                f"{name} {measured(name, value, std)}"
                for name, value, std in zip(search.objectives, trial.values, trial.std, strict=True)
            )
            for trial in reversed(best_trials(search))
        }
        return [*reversed(best.items())][: len(PLACES)]
    _, ranked, settings, objective = found
    return [
        (
            ", ".join(f"{axis}={shortened(row[axis])}" for axis in settings),
            f"{objective} {measured(str(objective), row[objective], row[f'{objective} std'])}",
        )
        for _, row in ranked.head(len(PLACES)).astype(object).iterrows()
    ]


def _unranked(found: SweepResults) -> str | None:
    """Return why no configuration is ranked although jobs are complete, and what to do; None if there is no need."""
    complete = found.jobs[found.jobs["status"] == "complete"].dropna(axis="columns", how="all")
    if len(found.ranked) or not len(complete):
        return None
    others = ", ".join(
        name for name in complete if SWEEP["objective"].accepts(name) and name.endswith(("/loss", "_acc"))
    )
    return (
        f"No complete job has {found.objective} (sweep.objective), so no configuration is chosen: run the sweep again "
        f"with another objective (complete jobs are kept; they have {others or 'none'}), or under another name with "
        "validation (data.val_size, trainer.limit_val_batches)."
    )


def _tables(found: SweepResults, search: Search | None) -> list[tuple[str, pd.DataFrame]]:
    results, ranked, settings, objective = found
    tables = []
    best = chosen(found, search)
    if len(best) and (search is None or len(search.objectives) == 1):
        tables.append(("Test metrics of the best configuration", _formatted(best, settings, SHOWN_OF_TEST)))
    if search is not None:
        tables += search_tables(search)
    elif objective is not None and len(ranked):
        of_gradients = SHOWN_OF_GRADIENTS if "gradient/variance" in ranked else []
        columns = dict.fromkeys([objective, *SHOWN, *of_gradients])
        tables.append(("Configurations, best first", _formatted(ranked, settings, list(columns))))
    incomplete = results[~results["status"].isin(ENDED)]
    if len(incomplete):
        tables.append(("Jobs that are not complete", incomplete[["job", "status", "why"]]))
    return tables


def _formatted(ranked: pd.DataFrame, settings: Sequence[str], metrics: Sequence[str]) -> pd.DataFrame:
    table = ranked[[*settings, "runs"]].copy()
    for axis in settings:
        table[axis] = [shortened(value) for value in ranked[axis]]
    for name in metrics:
        if name in ranked:
            table[name] = [
                measured(name, mean, std) for mean, std in zip(ranked[name], ranked[f"{name} std"], strict=True)
            ]
    return table


def _markdown(table: pd.DataFrame) -> str:
    rows = [list(table.columns), ["---"] * len(table.columns), *table.to_numpy().tolist()]
    return "\n".join(
        "| " + " | ".join(" ".join(str(cell).split()).replace("|", "\\|") for cell in row) + " |" for row in rows
    )
