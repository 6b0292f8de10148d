"""vae-report: show a run's results again, or write the report of a sweep or of any runs."""

import argparse
import glob
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from vae_lightning.commands.scripts import started
from vae_lightning.config.errors import InputError
from vae_lightning.config.refusal import end_unread, refuse
from vae_lightning.runs.directory import CURVES, JOB, read_metrics, run_folders
from vae_lightning.runs.rules import SWEEP
from vae_lightning.signals import resumes_by
from vae_lightning.terminal import clear
from vae_lightning.trackers.event_files import is_in_tensorboard
from vae_lightning.wrapping import fitted

__all__ = ["main"]

# In a sweep's folder: what Hydra stores of it.
MULTIRUN = "multirun.yaml"


def main() -> None:
    """Run the console script, ``vae-report PATH...``."""
    with started("vae-report"):
        try:
            lines = _report()
            clear()
            print(*(fitted(line, sys.stdout) for line in lines), sep="\n", flush=True)
        except BrokenPipeError:
            end_unread()
        except InputError as error:
            refuse(error)


def _report() -> Sequence[str]:
    parser = argparse.ArgumentParser(
        prog="vae-report",
        description=(
            "Show a run's results again; write a sweep's tables, pictures and page again; or compare the runs in any "
            "folders in one table, best first, and one page."
        ),
        epilog=(
            "examples: vae-report outputs/runs/first; vae-report outputs/sweeps/first; vae-report outputs; "
            "vae-report 'outputs/runs/2026-*' outputs/sweeps/first --output comparison"
        ),
    )
    parser.add_argument(
        "paths", metavar="PATH", nargs="+", help="a run, a sweep, a folder of either, or a pattern such as 'outputs/*'"
    )
    parser.add_argument("--by", metavar="METRIC", help="the metric that ranks; default: the sweep's, or val/loss")
    parser.add_argument(
        "--output",
        metavar="FOLDER",
        type=Path,
        help="where to write results.csv and report.html; default: the folder, if only one is given",
    )
    parser.error = _refuse  # type: ignore[method-assign]  # argparse's own takes several lines
    given = parser.parse_args()
    folders = [folder for path in given.paths for folder in _folders(path)]
    runs = [run for folder in folders for run in run_folders(folder)]
    if not runs:
        paths = " ".join(given.paths)
        raise InputError(f"{paths}: must be a run, a sweep or a folder that holds one, but holds no run")
    if given.by is not None and not SWEEP["objective"].accepts(given.by):
        raise InputError(f"--by {given.by}: must be {SWEEP['objective'].allowed}")
    resumes_by(lambda: "the report may be incomplete; the same command starts again")
    if given.output is None and len(folders) == 1:
        (folder,) = folders
        if runs == [folder] and given.by is None:
            return [*_run_lines(folder)]
        if _is_sweep(folder, runs):
            # Imported here because it takes half a second.
            from vae_lightning.reports.report import closing_lines, write_report
            from vae_lightning.sweeps.study import SEARCH

            if given.by is not None and (folder / SEARCH).exists():
                raise InputError(f"--by {given.by}: must be left out, because a search is ranked by its own objectives")
            write_report(folder, given.by)
            return [(folder / "summary.md").read_text(encoding="utf-8"), closing_lines(folder, given.by)]
        given.output = folder
    from vae_lightning.commands.report_tables import run_set_lines
    from vae_lightning.reports.run_sets import read_runs, write_run_set

    base = given.output or Path()
    found = read_runs(folders, base, given.by)
    lines = [*run_set_lines(found, base)]
    if given.output is None:
        return [*lines, "", "--output FOLDER writes results.csv and report.html"]
    return [*lines, "", *(f"written to {os.path.relpath(path)}" for path in write_run_set(given.output, found))]


def _folders(path: str) -> list[Path]:
    """Return a path, or the folders that match it if it is a pattern.

    Raises:
        InputError: if there is no such folder.
    """
    found = [path] if os.path.isdir(path) else sorted(filter(os.path.isdir, glob.glob(path)))
    if not found:
        raise InputError(f"{path}: must be a folder, but there is none")
    return [*map(Path, found)]


def _refuse(message: str) -> NoReturn:
    raise InputError(f"{message}; vae-report --help explains the arguments")


def _is_sweep(folder: Path, runs: Sequence[Path]) -> bool:
    """Return whether a folder is a sweep, not one that holds runs or several sweeps."""
    jobs = all((run / JOB).exists() for run in runs) and runs != [folder]
    between = {parent for run in runs for parent in run.parents if folder in parent.parents}
    return jobs and not any((parent / MULTIRUN).exists() for parent in between)


def _run_lines(run: Path) -> Iterator[str]:
    """Yield the lines that a run has printed at its end, or how far it is."""
    from vae_lightning.reports.results import outcome
    from vae_lightning.runs.closing_table import closing_table

    metrics = read_metrics(run)
    if metrics is not None:
        shown = [f"tensorboard --logdir {os.path.relpath(run)}"] * is_in_tensorboard(run)
        yield closing_table(metrics, run, shown, with_test=not (run / JOB).exists())
        return
    ended = outcome(run)
    yield f"{run}: {ended['status']}, {ended['why']}"
    if (run / CURVES).exists():
        from vae_lightning.reports.curves import read_curves

        curves = read_curves(run)
        last = {name: values[-1] for name, values in curves.items() if name in ("train/loss", "val/loss")}
        yield f"epoch {curves['epoch'][-1] + 1:.0f}" + "".join(f"   {name} {value:.2f}" for name, value in last.items())


if __name__ == "__main__":
    main()
