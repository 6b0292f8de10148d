"""The report of a sweep: results.csv, summary.md and report.html."""

import base64
import os
import shlex
import time
from collections.abc import Sequence
from html import escape
from pathlib import Path

import pandas as pd

from vae_lightning.runs.directory import job_folders
from vae_lightning.runs.rules import SWEEP
from vae_lightning.sweeps.curves import draw_sweep_curves
from vae_lightning.sweeps.edges import edge_lines
from vae_lightning.sweeps.heat_maps import draw_metrics
from vae_lightning.sweeps.results import SweepResults, read_sweep
from vae_lightning.sweeps.trade_off import draw_trade_off
from vae_lightning.whole_files import write_figure, write_file

__all__ = ["closing_lines", "report_is_due", "write_report"]

# Validation metrics of every configuration, and test metrics of the best one only.
SHOWN = ["val/loss", "val/recon", "val/kl", "probe/val_acc"]
SHOWN_OF_TEST = ["test/loss", "test/recon", "test/kl", "probe/test_acc"]
PICTURES = {"val_loss", "probe_val_acc", "trade_off", "curves"}
# A larger sweep spends at most this share of its time on reports.
SMALL, SHARE = 20, 0.05


def report_is_due(sweep: Path) -> bool:
    """Return whether to write the report after a job: always in a small sweep, otherwise as time permits.

    A report reads every job, so that reports after each of n jobs would take a time that grows with n squared.
    """
    if sum(entry.is_dir() for entry in os.scandir(sweep)) <= SMALL:
        return True
    try:
        began, ended = ((sweep / name).stat().st_mtime for name in ("results.csv", "report.html"))
    except FileNotFoundError:
        return True
    return time.time() - ended >= (ended - began) / SHARE


def write_report(sweep: Path) -> pd.DataFrame:
    """Write ``results.csv``, ``summary.md``, ``report.html`` and pictures to a sweep's folder; return the results."""
    began = time.time()
    found = read_sweep(sweep)
    results, ranked, settings, objective = found
    write_file(sweep / "results.csv", results.to_csv(index=False))
    os.utime(sweep / "results.csv", (began, began))  # when its jobs were read: report_is_due needs a report's duration
    tables = _tables(results, ranked, settings, objective)
    counts = ", ".join(f"{count} {status}" for status, count in results["status"].value_counts().items())
    ranking = f"Ranked by {objective}; metrics are means over seeds ± standard deviation."
    head = f"{len(results)} jobs: {counts}. {_unranked(found) or ranking}"
    markdown = [f"# {sweep.name}", head]
    html = [f"<h1>{escape(sweep.name)}</h1><p>{escape(head)}</p>"]
    for title, table in tables:
        markdown += [f"## {title}", _markdown(table)]
        html += [f"<h2>{escape(title)}</h2>", table.to_html(index=False, border=0, justify="left")]
    pictures = draw_metrics(ranked, settings) + draw_trade_off(ranked, settings)
    pictures += draw_sweep_curves(sweep, results, settings)
    for name in PICTURES - {name for name, _, _ in pictures}:  # left by a report on fewer jobs
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
    """Return the lines that a sweep prints at its end: the best configuration, and the paths of the results."""
    found = read_sweep(sweep)
    _, ranked, settings, objective = found
    folder = Path(os.path.relpath(sweep))
    lines = []
    if objective is not None and len(ranked):
        best = _formatted(ranked.head(1), settings, [objective, *SHOWN_OF_TEST]).iloc[0]
        values = ", ".join(f"{axis}={best[axis]}" for axis in settings)
        lines.append(f"{'best':10} {f'{values}   ' if values else ''}{objective} {best[objective]}")
        lines += [f"{'':10} {line}" for line in edge_lines(sweep, ranked, settings)]
        if of_test := [f"{name} {best[name]}" for name in ("test/loss", "probe/test_acc") if name in best]:
            lines.append(f"{'test':10} {'   '.join(of_test)}")
    elif why := _unranked(found):
        lines.append(f"{'no best':10} {why}")
    lines += [f"{'results':10} {folder / 'results.csv'}", f"{'report':10} {folder / 'report.html'}"]
    if any((job / "tensorboard").exists() for job in job_folders(sweep)):
        lines.append(f"{'monitor':10} tensorboard --logdir {shlex.quote(str(folder))}")
    return "\n".join(lines)


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


def _tables(
    results: pd.DataFrame, ranked: pd.DataFrame, settings: Sequence[str], objective: str | None
) -> list[tuple[str, pd.DataFrame]]:
    tables = []
    if objective is not None and len(ranked):
        columns = dict.fromkeys([objective, *SHOWN])
        tables.append(("Test metrics of the best configuration", _formatted(ranked.head(1), settings, SHOWN_OF_TEST)))
        tables.append(("Configurations, best first", _formatted(ranked, settings, list(columns))))
    incomplete = results[results["status"] != "complete"]
    if len(incomplete):
        tables.append(("Jobs that are not complete", incomplete[["job", "status", "why"]]))
    return tables


def _formatted(ranked: pd.DataFrame, settings: Sequence[str], metrics: Sequence[str]) -> pd.DataFrame:
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
    return "\n".join(
        "| " + " | ".join(" ".join(str(cell).split()).replace("|", "\\|") for cell in row) + " |" for row in rows
    )
