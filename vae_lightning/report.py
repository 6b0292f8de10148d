"""What a sweep gave: results.csv, summary.md and report.html, from what its jobs left on disk. vae-report."""

import argparse
import base64
import json
import os
import shlex
from collections.abc import Iterable, Sequence
from html import escape
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from vae_lightning.checks import InputError
from vae_lightning.command import end_unread, refuse
from vae_lightning.run_directory import CURVES, FAILURE, JOB, METRICS, write_figure, write_file

__all__ = ["closing_lines", "gather", "main", "rank", "write_report"]

# Shown of validation for every configuration, and of test for the chosen one alone.
SHOWN = ["val/loss", "val/recon", "val/kl", "probe/val_acc"]
SHOWN_OF_TEST = ["test/loss", "test/recon", "test/kl", "probe/test_acc"]
PICTURES = {"val_loss", "probe_val_acc", "trade_off", "curves"}
# Heat maps side by side.
MOST_PANELS = 6


def main() -> None:
    """The console script: ``vae-report SWEEP`` writes the tables and pictures again."""
    parser = argparse.ArgumentParser(
        prog="vae-report",
        description="Write a sweep's tables and pictures again from what its jobs left on disk, and show the tables.",
        epilog="example: vae-report outputs/sweeps/first",
    )
    parser.add_argument("sweep", metavar="SWEEP", type=Path, help="a sweep's folder")
    sweep: Path = parser.parse_args().sweep
    if not any(sweep.glob(f"*/{JOB}")):
        refuse(InputError(f"{sweep}: must be a sweep's folder, and no job is in it"))
    write_report(sweep)
    try:
        print((sweep / "summary.md").read_text(), closing_lines(sweep), sep="\n", flush=True)
    except BrokenPipeError:
        end_unread()


def gather(sweep: Path) -> pd.DataFrame:
    """A row for each job: its name, what varies, status, why it is not complete, seconds, every final metric.

    The status is ``complete``, ``failed``, or ``unfinished`` for one that runs still or was cut off.
    """
    rows = []
    for file in sorted(sweep.glob(f"*/{JOB}")):
        job = file.parent
        row: dict[str, Any] = {"job": job.name, **_axes(job)}
        if (job / METRICS).exists():
            metrics = json.loads((job / METRICS).read_text())
            row |= {"status": "complete", "why": "", "seconds": metrics["total_seconds"], **metrics}
        elif (job / FAILURE).exists():
            row |= {"status": "failed", "why": json.loads((job / FAILURE).read_text())["error"].splitlines()[0]}
        else:
            row |= {"status": "unfinished", "why": "it runs still, or was cut off: run the sweep again"}
        rows.append(row)
    return pd.DataFrame(rows)


def rank(results: pd.DataFrame, axes: Sequence[str], objective: str) -> pd.DataFrame:
    """Configurations from best to worst by the objective, means over seeds beside their standard deviations.

    Arguments:
        results: as :func:`gather` gives them.
        axes: what varies; ``seed`` among them is averaged over.
        objective: a metric of validation or training; an accuracy is to be high, anything else low.

    Returns:
        A row for each configuration: its values, ``runs``, and ``METRIC`` and ``METRIC std`` (over seeds, with n - 1;
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


def write_report(sweep: Path) -> pd.DataFrame:
    """Write ``results.csv``, ``summary.md``, ``report.html`` and pictures into its folder; return the results."""
    results, ranked, settings, objective = _read(sweep)
    write_file(sweep / "results.csv", results.to_csv(index=False))
    tables = _tables(results, ranked, settings, objective)
    counts = ", ".join(f"{count} {status}" for status, count in results["status"].value_counts().items())
    head = f"{len(results)} jobs: {counts}. Chosen by {objective}, means over seeds ± their standard deviation."
    markdown = [f"# {sweep.name}", head]
    html = [f"<h1>{escape(sweep.name)}</h1><p>{escape(head)}</p>"]
    for title, table in tables:
        markdown += [f"## {title}", _markdown(table)]
        html += [f"<h2>{escape(title)}</h2>", table.to_html(index=False, border=0, justify="left")]
    pictures = [*_figures(ranked, settings), *_trade_off(ranked, settings), *_curves(sweep, results, settings)]
    for name in PICTURES - {name for name, _, _ in pictures}:  # of fewer jobs
        (sweep / "figures" / f"{name}.png").unlink(missing_ok=True)
    for name, title, figure in pictures:
        data = base64.b64encode(write_figure(sweep / "figures" / f"{name}.png", figure)).decode()
        html.append(f'<h2>{escape(title)}</h2><img alt="{escape(title)}" src="data:image/png;base64,{data}">')
    links = "".join(
        f'<tr><td><a href="{escape(job)}/">{escape(job)}</a></td><td>{escape(status)}</td><td>{escape(why)}</td></tr>'
        for job, status, why in zip(results["job"], results["status"], results["why"], strict=True)
    )
    html.append(f"<h2>Jobs</h2><table>{links}</table>")
    write_file(sweep / "summary.md", "\n\n".join(markdown) + "\n")
    write_file(sweep / "report.html", _PAGE.format(title=escape(sweep.name), body="\n".join(html)))
    return results


def closing_lines(sweep: Path) -> str:
    """The best configuration, and where everything is: what a sweep's command shows at its end."""
    _, ranked, settings, objective = _read(sweep)
    folder = Path(os.path.relpath(sweep))
    lines = []
    if len(ranked):
        best = _shown(ranked.head(1), settings, [objective]).iloc[0]
        values = ", ".join(f"{axis}={best[axis]}" for axis in settings)
        lines.append(f"{'best':10} {f'{values}   ' if values else ''}{objective} {best[objective]}")
    lines += [f"{'results':10} {folder / 'results.csv'}", f"{'report':10} {folder / 'report.html'}"]
    if any(sweep.glob("*/tensorboard")):
        lines.append(f"{'monitor':10} tensorboard --logdir {shlex.quote(str(folder))}")
    return "\n".join(lines)


def _read(sweep: Path) -> tuple[pd.DataFrame, pd.DataFrame, list[str], str]:
    """The jobs, the configurations by rank, what these differ in, and by what they are ranked."""
    results = gather(sweep)
    jobs = sorted(sweep.glob(f"*/{JOB}"), key=lambda file: file.stat().st_mtime)
    axes = list(dict.fromkeys(axis for file in jobs for axis in _axes(file.parent)))
    objective = json.loads(jobs[-1].read_text())["objective"]
    return results, rank(results, axes, objective), [axis for axis in axes if axis != "seed"], objective


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }}
table {{ border-collapse: collapse }}
td, th {{ padding: .2rem .9rem .2rem 0; border-bottom: 1px solid #ddd; text-align: left }}
img {{ max-width: 100% }}
</style></head><body>
{body}
</body></html>
"""


def _axes(job: Path) -> dict[str, Any]:
    axes: dict[str, Any] = json.loads((job / JOB).read_text())["axes"]
    return axes


def _tables(
    results: pd.DataFrame, ranked: pd.DataFrame, settings: Sequence[str], objective: str
) -> list[tuple[str, pd.DataFrame]]:
    tables = []
    if len(ranked):
        columns = dict.fromkeys([objective, *SHOWN])
        tables.append(("The test numbers of the chosen configuration", _shown(ranked.head(1), settings, SHOWN_OF_TEST)))
        tables.append(("Configurations, the best first", _shown(ranked, settings, list(columns))))
    missing = results[results["status"] != "complete"]
    if len(missing):
        tables.append(("Not complete", missing[["job", "status", "why"]]))
    return tables


def _shown(ranked: pd.DataFrame, settings: Sequence[str], metrics: Sequence[str]) -> pd.DataFrame:
    table = ranked[[*settings, "runs"]].copy()
    for name in metrics:
        if name in ranked:
            digits = 4 if name.endswith("_acc") else 2
            table[name] = [
                f"{mean:.{digits}f}" + ("" if pd.isna(std) else f" ± {std:.{digits}f}")
                for mean, std in zip(ranked[name], ranked[f"{name} std"], strict=True)
            ]
    return table


def _markdown(table: pd.DataFrame) -> str:
    rows = [list(table.columns), ["---"] * len(table.columns), *table.to_numpy().tolist()]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows)


def _figures(ranked: pd.DataFrame, settings: Sequence[str]) -> list[tuple[str, str, Figure]]:
    """Names, titles and pictures of loss and accuracy: heat maps over two axes or more, a curve over one."""
    if not len(ranked) or not settings:
        return []
    metrics = {"val/loss": "validation loss, nats per image", "probe/val_acc": "probe accuracy, validation"}
    draw = _curve if len(settings) == 1 else _heat_maps
    drawn = [(name, title, draw(ranked, settings, name, title)) for name, title in metrics.items() if name in ranked]
    return [(name.replace("/", "_"), title, figure) for name, title, figure in drawn if figure is not None]


def _levels(values: Iterable[Any]) -> list[str]:
    """The different values as texts, in their order where they have one."""
    different = {_text(value): value for value in values}
    try:
        return sorted(different, key=different.__getitem__)
    except TypeError:  # of several kinds
        return sorted(different)


def _text(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _heat_maps(ranked: pd.DataFrame, settings: Sequence[str], name: str, title: str) -> Figure | None:
    """One over the first two axes for each combination of the others; None of too many."""
    others = [", ".join(f"{axis}={_text(row[axis])}" for axis in settings[2:]) for _, row in ranked.iterrows()]
    rows, columns = (_levels(ranked[axis]) for axis in settings[:2])
    each = product(*([f"{axis}={level}" for level in _levels(ranked[axis])] for axis in settings[2:]))
    panels = [panel for panel in map(", ".join, each) if panel in others]
    if len(panels) > MOST_PANELS:
        return None
    digits = 3 if name.endswith("_acc") else 1
    cell = min(1.1, 12 / (len(columns) * len(panels)))  # inches
    figure = Figure(
        figsize=(2 + max(cell * len(columns), 1.5) * len(panels), 1.4 + min(0.55, 12 / len(rows)) * len(rows)),
        dpi=120,
        layout="constrained",
    )
    for axes, panel in zip(figure.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels, strict=True):
        table = np.full((len(rows), len(columns)), np.nan)
        for (_, row), other in zip(ranked.iterrows(), others, strict=True):
            if other == panel:
                place = rows.index(_text(row[settings[0]])), columns.index(_text(row[settings[1]]))
                table[place] = row[name]
                if cell >= 0.5:
                    box = {"facecolor": "black", "alpha": 0.35, "linewidth": 0, "pad": 1.5}
                    text = axes.text(*place[::-1], f"{row[name]:.{digits}f}", ha="center", va="center", fontsize=8)
                    text.set(color="white", bbox=box)
        # The brighter, the better.
        image = axes.imshow(
            table,
            cmap="viridis" if name.endswith("_acc") else "viridis_r",
            aspect="auto",
            vmin=ranked[name].min(),
            vmax=ranked[name].max(),
        )
        crowded = len("".join(columns)) * 0.1 > cell * len(columns)
        axes.set_xticks(range(len(columns)), columns, rotation=90 if crowded else 0)
        axes.set_yticks(range(len(rows)), rows)
        axes.set_xlabel(settings[1])
        axes.set_title(panel, fontsize=9)
    figure.axes[0].set_ylabel(settings[0])
    figure.suptitle(title, fontsize=10)
    if ranked[name].nunique() > 1:
        figure.colorbar(image, ax=figure.axes)
    return figure


def _curve(ranked: pd.DataFrame, settings: Sequence[str], name: str, title: str) -> Figure:
    (axis,) = settings
    figure = Figure(figsize=(5, 3), dpi=120, layout="constrained")
    axes = figure.subplots()
    if pd.api.types.is_numeric_dtype(ranked[axis]) and ranked[axis].dtype != bool:
        table = ranked.sort_values(axis)
        axes.errorbar(table[axis], table[name], yerr=table[f"{name} std"].fillna(0), marker="o", capsize=3)
        if (table[axis] > 0).all() and table[axis].max() / table[axis].min() > 20:
            axes.set_xscale("log")
    else:
        levels = _levels(ranked[axis])
        places = [levels.index(_text(value)) for value in ranked[axis]]
        axes.errorbar(places, ranked[name], yerr=ranked[f"{name} std"].fillna(0), fmt="o", capsize=3)
        axes.set_xticks(range(len(levels)), levels, rotation=90 if len("".join(levels)) > 45 else 0)
        axes.margins(x=0.2)
    axes.set_xlabel(axis)
    axes.set_ylabel(name)
    axes.set_title(title, fontsize=9)
    axes.grid(alpha=0.3)
    return figure


_MARKS = "osD^vP*X<>pH"


def _trade_off(ranked: pd.DataFrame, settings: Sequence[str]) -> list[tuple[str, str, Figure]]:
    """Loss against probe accuracy, on validation: a point a configuration.

    What varies first is the colour, what second the mark, and the rest stands beside the point.
    """
    names = ["val/loss", "probe/val_acc"]
    if len(ranked) < 3 or not settings or any(name not in ranked for name in names):
        return []
    figure = Figure(figsize=(8, 5), dpi=120, layout="constrained")
    axes = figure.subplots()
    looks = [_levels(ranked[axis]) for axis in settings[:2]]
    colours = colormaps["tab10" if len(looks[0]) <= 10 else "turbo"].resampled(max(10, len(looks[0])))
    for _, row in ranked.iterrows():
        text = [_text(row[axis]) for axis in settings]
        places = [known.index(value) for known, value in zip(looks, text, strict=False)]
        mark = _MARKS[places[1] % len(_MARKS)] if len(places) > 1 else _MARKS[0]
        errors = [0 if pd.isna(row[f"{name} std"]) else row[f"{name} std"] for name in names]
        axes.errorbar(row[names[0]], row[names[1]], errors[1], errors[0], fmt=mark, color=colours(places[0]))
        axes.annotate(
            ", ".join(text[2:]), (row[names[0]], row[names[1]]), (4, 3), textcoords="offset points", fontsize=7
        )
    for place, value in enumerate(looks[0]):
        axes.plot([], [], "o", color=colours(place), label=f"{settings[0]}={value}")
    for place, value in enumerate(looks[1] if len(looks) > 1 else ()):
        axes.plot([], [], _MARKS[place % len(_MARKS)], color="grey", label=f"{settings[1]}={value}")
    beside = f"; beside each point: {', '.join(settings[2:])}" if len(settings) > 2 else ""
    axes.set_title("loss against probe accuracy" + beside, fontsize=9)
    axes.set_xlabel("validation loss, nats per image")
    axes.set_ylabel("probe accuracy, validation")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right center", fontsize=8, ncols=-(-sum(map(len, looks)) // 24))
    return [("trade_off", "Loss against probe accuracy", figure)]


# What is drawn over the epochs, and by which scale; a bias may be 0.
_CURVES: dict[str, dict[str, Any]] = {
    "train/loss": {"value": "linear"},
    "val/loss": {"value": "linear"},
    "probe/val_acc": {"value": "linear"},
    "gradient/bias": {"value": "symlog", "linthresh": 0.1},
    "gradient/variance": {"value": "log"},
}
# More than so many lines cannot be told apart.
_MOST_LINES = 10


def _curves(sweep: Path, results: pd.DataFrame, settings: Sequence[str]) -> list[tuple[str, str, Figure]]:
    """Each configuration's curves, of the first seed; nothing for a sweep of many."""
    complete = results[results["status"] == "complete"]
    # By their texts, for a value may be a list.
    first = complete[~complete[[*settings]].map(str).duplicated()] if settings else complete.head(1)
    tables = {
        ", ".join(f"{axis}={job[axis]}" for axis in settings) or job["job"]: pd.read_csv(sweep / job["job"] / CURVES)
        for _, job in first.iterrows()
        if (sweep / job["job"] / CURVES).exists()
    }
    # A single point, as of a probe at the end, is no curve.
    names = [name for name in _CURVES if any(name in table and table[name].count() > 1 for table in tables.values())]
    if not names or len(tables) > _MOST_LINES:
        return []
    figure = Figure(figsize=(1 + 3.2 * len(names), 3.2), dpi=120, layout="constrained")
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for label, table in tables.items():
            points = table[["epoch", name]].dropna() if name in table else pd.DataFrame({"epoch": [], name: []})
            (line,) = axes.plot(points["epoch"] + 1, points[name], marker=".", label=label)
            if name == "gradient/bias" and name in table:
                noise = table[["epoch", "gradient/noise"]].dropna()
                axes.plot(noise["epoch"] + 1, noise["gradient/noise"], ":", color=line.get_color())
        axes.set_yscale(**_CURVES[name])
        axes.set_title(name + "; dotted: noise" * (name == "gradient/bias"), fontsize=9)
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    columns = int(figure.get_figwidth() / (0.6 + 0.075 * max(map(len, labels))))  # by the inches of an entry
    figure.legend(handles, labels, loc="outside lower center", ncols=min(len(labels), max(1, columns)), fontsize=8)
    return [("curves", "Curves", figure)]


if __name__ == "__main__":
    main()
