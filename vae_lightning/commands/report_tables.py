"""The tables that vae-report prints of a set of runs."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from vae_lightning.reports.levels import shortened
from vae_lightning.reports.results import SweepResults, measured

__all__ = ["run_set_lines"]

# The most configurations of a group; results.csv and report.html have all.
MOST_ROWS = 20
# A table that is not printed on a terminal, or on a wide one, has all columns.
WIDE = 200


def run_set_lines(found: SweepResults, base: Path) -> Iterator[str]:
    """Yield the lines: how many runs have which state, and for each group its configurations, best first.

    Arguments:
        found: the runs, as :func:`vae_lightning.reports.run_sets.read_runs` returns them.
        base: the folder to which their names are relative.
    """
    jobs, ranked, settings, objective = found
    counts = ", ".join(f"{count} {status}" for status, count in jobs["status"].value_counts().items())
    yield f"{len(jobs)} run{'s' * (len(jobs) != 1)}: {counts}"
    groups = [*jobs["group"].drop_duplicates().sort_values()]
    if len(groups) > 1:
        yield "Losses are comparable within a group alone: the same validation images and likelihood."
    for group in groups:
        members = jobs[jobs["group"] == group]
        best = ranked[ranked["group"] == group] if len(ranked) else ranked
        yield ""
        if not len(best):
            yield f"{group}: {len(members)} runs, none complete with {objective}"
            continue
        yield f"{group}: {len(members)} run{'s' * (len(members) != 1)}, best first by {objective}"
        differing = [name for name in settings if best[name].map(str).nunique() > 1]
        known = {*differing, *(name for name in settings if f"{name}=" in group), "data"}
        same = [f"{name} {shortened(best[name].iloc[0])}" for name in settings if name not in known]
        yield from [", ".join(same)] * bool(same)
        yield from _table(best, [str(objective), "probe/val_acc"], differing)
        first = best.iloc[0]
        same_settings = (members[settings].map(str) == first[settings].map(str)).all(axis=1)
        kin = members[same_settings & (members["status"] == "complete")]
        chosen = kin.sort_values(objective, ascending=not str(objective).endswith("_acc"))["job"].iloc[0]
        yield f"{'best':6} {os.path.relpath(base / chosen)}"
        tested = [
            f"{name} {measured(name, first[name], first[f'{name} std'])}"
            for name in ("test/loss", "probe/test_acc")
            if name in best and pd.notna(first[name])
        ]
        yield from [f"{'test':6} {'   '.join(tested)}"] * bool(tested)
    ended = jobs[~jobs["status"].isin(["complete", "pruned", "retried"])]
    if len(ended):
        yield ""
        yield from (f"{row.status:10} {os.path.relpath(base / row.job)}: {row.why}" for row in ended.itertuples())


def _table(best: pd.DataFrame, metrics: list[str], settings: list[str]) -> Iterator[str]:
    """Yield the rows of a table that is as wide as the terminal allows."""
    columns = {
        name: [name, *map(measured, [name] * len(best), best[name], best[f"{name} std"])]
        for name in dict.fromkeys(metrics)
        if name in best
    }
    columns["runs"] = ["runs", *map(str, best["runs"])]
    columns |= {name: [name, *map(shortened, best[name])] for name in settings}
    cut = {name: cells[: MOST_ROWS + 1] for name, cells in columns.items()}
    room = shutil.get_terminal_size((WIDE, 0)).columns
    widths: dict[str, int] = {}
    for name, cells in cut.items():
        width = max(map(len, cells))
        if sum(widths.values()) + 2 * len(widths) + width > room:
            break
        widths[name] = width
    for row in zip(*(cut[name] for name in widths), strict=True):
        yield "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths.values(), strict=True)).rstrip()
    hidden = [f"{len(best) - MOST_ROWS} more configurations"] * (len(best) > MOST_ROWS)
    if left_out := [name for name in columns if name not in widths]:
        hidden.append(f"the column{'s' * (len(left_out) > 1)} {', '.join(left_out)}")
    yield from [f"... and {' and '.join(hidden)}"] * bool(hidden)
