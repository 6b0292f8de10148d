"""vae-report: write a sweep's report again."""

import argparse
from pathlib import Path

from vae_lightning.commands.scripts import started
from vae_lightning.config.errors import InputError
from vae_lightning.config.refusal import end_unread, refuse
from vae_lightning.runs.directory import job_folders
from vae_lightning.signals import resumes_by
from vae_lightning.terminal import clear

__all__ = ["main"]


def main() -> None:
    """Run the console script: ``vae-report SWEEP`` writes a sweep's tables and pictures again."""
    with started("vae-report"):
        _report()


def _report() -> None:
    parser = argparse.ArgumentParser(
        prog="vae-report",
        description="Write a sweep's tables and pictures again from its jobs' files, and print the tables.",
        epilog="example: vae-report outputs/sweeps/first",
    )
    parser.add_argument("sweep", metavar="SWEEP", type=Path, help="a sweep's folder")
    sweep: Path = parser.parse_args().sweep
    if not job_folders(sweep):
        refuse(InputError(f"{sweep}: must be a sweep's folder, but it holds no job"))
    # Imported here because it takes half a second.
    from vae_lightning.reports.report import closing_lines, write_report

    resumes_by(lambda: "the report may be incomplete; the same command starts again")
    write_report(sweep)
    clear()
    try:
        print((sweep / "summary.md").read_text(encoding="utf-8"), closing_lines(sweep), sep="\n", flush=True)
    except BrokenPipeError:
        end_unread()


if __name__ == "__main__":
    main()
