"""Time the report of many runs: writing it, and opening its page in a browser.

    python benchmarks/report.py               # 500 made-up runs of 20 epochs; needs Playwright and Chromium
    python benchmarks/report.py --jobs 2000

The runs are a grid of 5 widths, 5 learning rates and as many latent_dim as are needed, with 4 seeds each. The page is
opened from its file; its first chart is drawn with its first screen, the others as the reader scrolls to them.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from itertools import islice, product
from pathlib import Path

import numpy as np
from playwright.sync_api import sync_playwright

from vae_lightning.reports.report import write_report
from vae_lightning.reports.results import read_sweep
from vae_lightning.sweeps.job_name import job_name
from vae_lightning.whole_files import write_json

EPOCHS = 20
NAMES = ["train/loss", "train/recon", "train/kl", "train/gradient_norm", "train/lr"]
NAMES += ["val/loss", "val/recon", "val/kl", "val/active_units", "probe/val_acc"]
CONFIG = """data:
  _target_: vae_lightning.data.MNISTDataModule
  val_size: 5000
model: {}
callbacks: {}
trainer:
  max_epochs: 20
"""


def write_runs(sweep: Path, jobs: int) -> None:
    random = np.random.default_rng(0)
    grid = product(range(2, 2 + jobs), [1e-4, 3e-4, 1e-3, 3e-3, 1e-2], [64, 128, 256, 512, 1024], range(4))
    for latent_dim, lr, width, seed in islice(grid, jobs):
        axes = {"latent_dim": latent_dim, "lr": lr, "width": width, "seed": seed}
        job = sweep / job_name(axes)
        curves = 100 + 100 * np.exp(-np.arange(EPOCHS) / 4)[:, None] + random.normal(size=(EPOCHS, len(NAMES)))
        metrics = dict(zip(NAMES, curves[-1].tolist(), strict=True)) | {"test/loss": 100.0, "total_seconds": 20.0}
        write_json(job / "job.json", {"axes": axes, "objective": "val/loss", "fingerprint": str(axes)})
        write_json(job / "environment.json", {"started": "2026-01-31T12:00:00+00:00", "command": "train.py -m"})
        write_json(job / "metrics.json", metrics)
        (job / ".hydra").mkdir()
        (job / ".hydra/config.yaml").write_text(CONFIG)
        rows = [",".join(map(str, [epoch, epoch, *row])) for epoch, row in enumerate(curves.tolist())]
        (job / "metrics.csv").write_text("\n".join([",".join(["epoch", "step", *NAMES]), *rows]) + "\n")


def open_page(path: Path, times: int) -> tuple[list[float], list[float]]:
    """Return the seconds until the document is complete, and until its first chart is drawn."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    complete, drawn = [], []
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for _ in range(times):
            page = browser.new_page(viewport={"width": 1400, "height": 1400})
            began = time.perf_counter()
            page.goto(path.resolve().as_uri(), wait_until="domcontentloaded")
            complete.append(time.perf_counter() - began)
            page.locator("#curves .main-svg").first.wait_for()
            drawn.append(time.perf_counter() - began)
            page.close()
        browser.close()
    return complete, drawn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=500, help="number of runs (500)")
    parser.add_argument("--times", type=int, default=5, help="how often the page is opened (5)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sweep = Path(folder)
        write_runs(sweep, arguments.jobs)
        began = time.perf_counter()
        read_sweep(sweep)
        read = time.perf_counter() - began
        began = time.perf_counter()
        write_report(sweep)
        written = time.perf_counter() - began
        complete, drawn = open_page(sweep / "report.html", arguments.times)
        size = (sweep / "report.html").stat().st_size / 1e6
    print("| runs | reading, s | whole report, s | page, MB | DOMContentLoaded, s | first chart drawn, s |")
    print("| --- | --- | --- | --- | --- | --- |")
    numbers = [read, written, size, statistics.median(complete), statistics.median(drawn)]
    print("|".join(["", f" {arguments.jobs} ", *(f" {number:.2f} " for number in numbers), ""]))


if __name__ == "__main__":
    main()
