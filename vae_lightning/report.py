"""What a sweep gave: results.csv, summary.md and report.html, from what its jobs left on disk. vae-report."""

import base64
import io
import json
import sys
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from vae_lightning.run_directory import CURVES, FAILURE, JOB, METRICS, write_file

__all__ = ["gather", "main", "rank", "write_report"]

# Shown of validation for every configuration, and of test for the chosen one alone.
SHOWN = ["val/loss", "val/recon", "val/kl", "probe/val_acc"]
SHOWN_OF_TEST = ["test/loss", "test/recon", "test/kl", "probe/test_acc"]


def main() -> None:
    """The console script: ``vae-report SWEEP`` writes the tables and pictures again."""
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        sys.exit("usage: vae-report SWEEP, a sweep's folder, e.g. vae-report outputs/sweeps/first")
    sweep = Path(sys.argv[1])
    if not any(sweep.glob(f"*/{JOB}")):
        print(f"error: {sweep}: must be a sweep's folder, and no job is in it", file=sys.stderr)
        sys.exit(2)
    write_report(sweep)
    print((sweep / "summary.md").read_text())


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
    results = gather(sweep)
    jobs = sorted(sweep.glob(f"*/{JOB}"), key=lambda file: file.stat().st_mtime)
    axes = list(dict.fromkeys(axis for file in jobs for axis in _axes(file.parent)))
    objective = json.loads(jobs[-1].read_text())["objective"]
    ranked = rank(results, axes, objective)
    settings = [axis for axis in axes if axis != "seed"]
    write_file(sweep / "results.csv", results.to_csv(index=False))
    tables = _tables(results, ranked, settings, objective)
    counts = ", ".join(f"{count} {status}" for status, count in results["status"].value_counts().items())
    head = f"{len(results)} jobs: {counts}. Chosen by {objective}, means over seeds ± their standard deviation."
    markdown = [f"# {sweep.name}", head]
    html = [f"<h1>{escape(sweep.name)}</h1><p>{escape(head)}</p>"]
    for title, table in tables:
        markdown += [f"## {title}", _markdown(table)]
        html += [f"<h2>{escape(title)}</h2>", table.to_html(index=False, border=0, justify="left")]
    (sweep / "figures").mkdir(exist_ok=True)
    pictures = [*_figures(ranked, settings), *_trade_off(ranked, settings), *_curves(sweep, results, settings)]
    for name, title, figure in pictures:
        figure.savefig(sweep / "figures" / f"{name}.png")
        html.append(f'<h2>{escape(title)}</h2><img alt="{escape(title)}" src="{_as_data(figure)}">')
    links = "".join(
        f'<tr><td><a href="{escape(job)}/">{escape(job)}</a></td><td>{escape(status)}</td><td>{escape(why)}</td></tr>'
        for job, status, why in zip(results["job"], results["status"], results["why"], strict=True)
    )
    html.append(f"<h2>Jobs</h2><table>{links}</table>")
    write_file(sweep / "summary.md", "\n\n".join(markdown) + "\n")
    write_file(sweep / "report.html", _PAGE.format(title=escape(sweep.name), body="\n".join(html)))
    return results


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
    """Names, titles and pictures: heat maps over two numeric axes, curves over one; nothing for other sweeps."""
    if not len(ranked) or not all(pd.api.types.is_numeric_dtype(ranked[axis]) for axis in settings):
        return []
    metrics = {"val/loss": "validation loss", "probe/val_acc": "probe accuracy, validation"}
    drawn = []
    for name, title in metrics.items():
        if name in ranked and len(settings) == 2:
            drawn.append((name.replace("/", "_"), title, _heat_map(ranked, settings, name)))
        elif name in ranked and len(settings) == 1:
            drawn.append((name.replace("/", "_"), title, _curve(ranked, settings[0], name)))
    return drawn


def _heat_map(ranked: pd.DataFrame, settings: Sequence[str], name: str) -> Figure:
    table = ranked.pivot(index=settings[0], columns=settings[1], values=name)
    figure = Figure(figsize=(1.6 + 1.1 * table.shape[1], 1.2 + 0.55 * table.shape[0]), dpi=120, layout="constrained")
    axes = figure.subplots()
    # The brighter, the better.
    image = axes.imshow(table.to_numpy(), cmap="viridis" if name.endswith("_acc") else "viridis_r", aspect="auto")
    axes.set_xticks(range(table.shape[1]), [f"{value:g}" for value in table.columns])
    axes.set_yticks(range(table.shape[0]), [f"{value:g}" for value in table.index])
    axes.set_xlabel(settings[1])
    axes.set_ylabel(settings[0])
    axes.set_title(name, fontsize=9)
    digits = 3 if name.endswith("_acc") else 1
    for (row, column), value in pd.DataFrame(table.to_numpy()).stack().items():
        axes.text(column, row, f"{value:.{digits}f}", ha="center", va="center", color="white", fontsize=8).set_bbox(
            {"facecolor": "black", "alpha": 0.35, "linewidth": 0, "pad": 1.5}
        )
    figure.colorbar(image)
    return figure


def _curve(ranked: pd.DataFrame, axis: str, name: str) -> Figure:
    table = ranked.sort_values(axis)
    figure = Figure(figsize=(5, 3), dpi=120, layout="constrained")
    axes = figure.subplots()
    axes.errorbar(table[axis], table[name], yerr=table[f"{name} std"].fillna(0), marker="o", capsize=3)
    positive = table[axis] > 0
    if positive.all() and table[axis].max() / table[axis].min() > 20:
        axes.set_xscale("log")
    axes.set_xlabel(axis)
    axes.set_ylabel(name)
    axes.grid(alpha=0.3)
    return figure


_MARKS = "osD^vP"


def _trade_off(ranked: pd.DataFrame, settings: Sequence[str]) -> list[tuple[str, str, Figure]]:
    """Loss against probe accuracy, on validation: a point a configuration.

    What varies first is the colour, what second the mark, and the rest stands beside the point.
    """
    names = ["val/loss", "probe/val_acc"]
    if len(ranked) < 3 or not settings or any(name not in ranked for name in names):
        return []
    figure = Figure(figsize=(8, 5), dpi=120, layout="constrained")
    axes = figure.subplots()
    texts = ranked[[*settings]].map(str)
    looks = [list(dict.fromkeys(texts[axis])) for axis in settings[:2]]
    for (_, row), text in zip(ranked.iterrows(), texts.to_numpy(), strict=True):
        places = [known.index(value) for known, value in zip(looks, text, strict=False)]
        mark = _MARKS[places[1] % len(_MARKS)] if len(places) > 1 else _MARKS[0]
        errors = [0 if pd.isna(row[f"{name} std"]) else row[f"{name} std"] for name in names]
        axes.errorbar(row[names[0]], row[names[1]], errors[1], errors[0], fmt=mark, color=f"C{places[0]}")
        axes.annotate(
            ", ".join(text[2:]), (row[names[0]], row[names[1]]), (4, 3), textcoords="offset points", fontsize=7
        )
    for place, value in enumerate(looks[0]):
        axes.plot([], [], "o", color=f"C{place}", label=f"{settings[0]}={value}")
    for place, value in enumerate(looks[1] if len(looks) > 1 else ()):
        axes.plot([], [], _MARKS[place % len(_MARKS)], color="grey", label=f"{settings[1]}={value}")
    if len(settings) > 2:
        axes.set_title(f"beside each point: {', '.join(settings[2:])}", fontsize=9)
    axes.set_xlabel("validation loss, nats per image")
    axes.set_ylabel("probe accuracy, validation")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
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
        axes.grid(alpha=0.3)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(labels)), fontsize=8)
    return [("curves", "Curves", figure)]


def _as_data(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


if __name__ == "__main__":
    main()
