"""Show how time and memory grow with the size of a problem, and where they grow faster than it.

    python benchmarks/growth.py                       # ten minutes
    python benchmarks/growth.py --parts images stack  # of the parts below
    python benchmarks/growth.py --full                # more sizes: an hour

images      number of training images, random pixels in .npy files: one epoch, test and probe
stack       number of models in a stack of a sweep
latent_dim  number of latent dimensions of a model alone
width       width of the hidden layers of a model alone
jobs        number of jobs of a sweep with debug=fast, one after another
stacked     likewise, as stacks
complete    number of jobs of a sweep whose command is repeated once all are complete; they are copies of one job

Each size is a ``vae-train`` of its own, on one thread unless OMP_NUM_THREADS says otherwise. A table has the seconds of
the fit (of a stack: of all models together), those of the whole command, and the largest resident memory, each with its
exponent since the size before: the ratio of the logarithms of figures and sizes. It is 1 where a figure grows in
proportion to the size, and above where it grows faster. Start-up takes part in small sizes: the exponents of large ones
count. Except for images, the data are the 5,000 digits of ``data=mnist_5k``, so nothing is downloaded.
"""

import argparse
import json
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
from process import TRAIN, measure

from vae_lightning.commands.command import CONF
from vae_lightning.sweeps.fingerprints import fingerprint

DIGITS = ["data=mnist_5k", "trainer=cpu"]
BARE = ["logger=none", "callbacks.figures=null", "callbacks.best_checkpoint=null"]
FAST = [*DIGITS, "debug=fast", "sweep.name=s"]
SWEEP = Path("outputs/sweeps/s")


class Point(NamedTuple):
    """A row of a table: the size, the seconds of the fit and of the command, and MiB."""

    size: int
    fit: float
    command: float
    mib: float


def images(size: int, folder: Path) -> Point:
    random = np.random.default_rng(0)
    for name, count in (("train", size), ("test", 1000)):
        np.save(folder / f"{name}_images.npy", random.integers(0, 256, (count, 28, 28), dtype=np.uint8))
        np.save(folder / f"{name}_labels.npy", random.integers(0, 10, count))
    data = ["data=files", f"data.path={folder}", "data.val_size=500", "trainer=cpu"]
    return _train(size, folder, [*data, *BARE, "trainer.max_epochs=1"])


def latent_dim(size: int, folder: Path) -> Point:
    return _train(size, folder, [*DIGITS, *BARE, "trainer.max_epochs=5", f"model.latent_dim={size}"])


def width(size: int, folder: Path) -> Point:
    return _train(size, folder, [*DIGITS, *BARE, "trainer.max_epochs=2", f"model.widths=[{size}]"])


def stack(size: int, folder: Path) -> Point:
    options = [*DIGITS, *BARE, "trainer.max_epochs=2", f"hydra.launcher.max_stack={size}", "sweep.name=s"]
    return _sweep(size, folder, ["hydra/launcher=stacked", *options, f"seed=range({size})"])


def jobs(size: int, folder: Path) -> Point:
    return _sweep(size, folder, [*FAST, *_grid(size)])


def stacked(size: int, folder: Path) -> Point:
    return _sweep(size, folder, [*FAST, *_grid(size), "hydra/launcher=stacked"])


def complete(size: int, folder: Path) -> Point:
    _sweep(1, folder, [*FAST, "model.latent_dim=1", "seed=0", "sweep.axes=[model.latent_dim,seed]"])
    (first,) = (path.parent for path in (folder / SWEEP).rglob("job.json"))
    copied = folder / "copied"
    shutil.move(first, copied)
    description = json.loads((copied / "job.json").read_text())
    config, metrics = (copied / ".hydra/config.yaml").read_text(), json.loads((copied / "metrics.json").read_text())
    sources = [SimpleNamespace(schema="file", path=CONF)]
    for number in range(size):
        latent_dim, seed = number // 10 + 1, number % 10
        name = f"latent_dim={latent_dim},seed={seed}"
        job = folder / SWEEP / name
        shutil.copytree(copied, job, copy_function=os.link)
        overrides = [*FAST, f"model.latent_dim={latent_dim}", f"seed={seed}", "sweep.axes=[model.latent_dim,seed]"]
        own = {
            "job.json": json.dumps(
                description
                | {"axes": {"latent_dim": latent_dim, "seed": seed}, "fingerprint": fingerprint(sources, overrides)}
            ),
            "metrics.json": json.dumps(metrics | {"val/loss": metrics["val/loss"] + number % 97}),
            ".hydra/config.yaml": config.replace("latent_dim: 1\n", f"latent_dim: {latent_dim}\n")
            .replace("seed: 0\n", f"seed: {seed}\n")
            .replace(str(first.relative_to(folder)), str(SWEEP / name)),
        }
        for file, content in own.items():
            (job / file).unlink()  # a hard link
            (job / file).write_text(content)
    shutil.rmtree(copied)
    point = _sweep(size, folder, [*FAST, *_grid(size)])
    return point._replace(fit=math.nan)


def _grid(size: int) -> list[str]:
    return [f"model.latent_dim=range(1,{size // 10 + 1})", "seed=range(10)"]


def _train(size: int, folder: Path, options: list[str]) -> Point:
    done = measure([*TRAIN, *options, "hydra.run.dir=run"], folder, _threads())
    return Point(size, json.loads((folder / "run/metrics.json").read_text())["fit_seconds"], done.seconds, done.mib)


def _sweep(size: int, folder: Path, options: list[str]) -> Point:
    done = measure([*TRAIN, "-m", *options], folder, _threads())
    assert len((folder / SWEEP / "results.csv").read_text().splitlines()) == size + 1
    found = [json.loads(path.read_text()) for path in (folder / SWEEP).glob("*/metrics.json")]
    assert len(found) == size, f"{len(found)} complete jobs of {size}"
    return Point(size, sum(metrics["fit_seconds"] for metrics in found), done.seconds, done.mib)


def _threads() -> Mapping[str, str]:
    return {} if "OMP_NUM_THREADS" in os.environ else {"OMP_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Part:
    """A table: how to measure a size, the sizes, and those of ``--full``."""

    measure: Callable[[int, Path], Point]
    sizes: tuple[int, ...]
    full: tuple[int, ...]


PARTS = {
    "images": Part(images, (1_000, 10_000, 100_000, 600_000), (1_000, 6_000, 60_000, 200_000, 600_000)),
    "stack": Part(stack, (2, 16, 128), (1, 2, 4, 8, 16, 32, 64, 128)),
    "latent_dim": Part(latent_dim, (2, 32, 256), (2, 4, 8, 16, 32, 64, 128, 256)),
    "width": Part(width, (64, 512, 2048), (64, 128, 256, 512, 1024, 2048)),
    "jobs": Part(jobs, (10, 50), (10, 100, 1000)),
    "stacked": Part(stacked, (10, 100), (10, 100, 1000)),
    "complete": Part(complete, (100, 1_000, 10_000), (100, 1_000, 3_000, 10_000)),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--full", action="store_true", help="more sizes")
    parser.add_argument("--sizes", type=int, nargs="+", help="instead of the parts' own")
    options = parser.parse_args()
    for name in options.parts:
        part = PARTS[name]
        print(f"\n| {name} | fit, s | exponent | command, s | exponent | MiB | exponent |\n|{' --- |' * 7}", flush=True)
        before: Point | None = None
        for size in options.sizes or (part.full if options.full else part.sizes):
            with tempfile.TemporaryDirectory() as folder:
                point = part.measure(size, Path(folder))
            cells = [f"{size:,}"]
            for place in range(1, 4):
                cells += [
                    "" if math.isnan(point[place]) else f"{point[place]:.1f}",
                    "" if before is None else _exponent(before, point, place),
                ]
            print(f"| {' | '.join(cells)} |", flush=True)
            before = point


def _exponent(before: Point, after: Point, place: int) -> str:
    if math.isnan(after[place]) or not before[place]:
        return ""
    return f"{math.log(after[place] / before[place]) / math.log(after.size / before.size):.2f}"


if __name__ == "__main__":
    main()
