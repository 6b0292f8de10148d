"""Time a search, and compare the best values that it finds: job after job and stacked, with and without pruning.

    python benchmarks/search.py --root DIR                       # full MNIST, ten epochs at most
    python benchmarks/search.py --digits --repeats 5             # the 5,000 digits that come with a package

DIR holds the MNIST files. Each way runs the same command, ``vae-train -m experiment=search``, with 48 trials over
``latent_dim``, the learning rate and beta, and three seeds for the best of them. Times cover the whole command. The
value is val/loss, in nats per image, of the best trial, averaged over its seeds. Repeats differ in the sampler's seed.

"without pruning" trains every first seed to its end; only the best quarter of the trials so far has the other seeds.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from vae_lightning.reports.trials import read_search
from vae_lightning.runs.environment import cores

EPOCHS = 10
QUARTER = [
    "hydra/sweeper/pruner=successive_halving",
    f"hydra.sweeper.pruner.min_resource={EPOCHS}",
    "hydra.sweeper.pruner.reduction_factor=4",
]
STACKED = ["hydra/launcher=stacked"]
WAYS = {
    "job by job, without pruning": QUARTER,
    "job by job, median pruning": ["hydra/sweeper/pruner=median"],
    "stacked, without pruning": [*STACKED, *QUARTER],
    "stacked, successive halving": [*STACKED, "hydra/sweeper/pruner=successive_halving"],
}
SPACE = [
    *("experiment=search", "objective=beta", f"trainer.max_epochs={EPOCHS}", "hydra.sweeper.seeds=[1,2,3]"),
    *("model.latent_dim=range(2,41)", "optimizer.lr=tag(log,interval(1e-4,1e-2))", "objective.beta=interval(0.5,2)"),
]


def search(folder: Path, options: list[str]) -> tuple[float, float, str]:
    """Return the seconds of a search, its best value, and its counts."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "vae_lightning.commands.train", "-m", *SPACE, "sweep.name=s", *options]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stdout[-5000:] + done.stderr)
    seconds = time.perf_counter() - began
    found = read_search(folder / "outputs/sweeps/s")
    assert found is not None
    trained, planned = (sum(getattr(trial, name) for trial in found.trials) for name in ("trained", "planned"))
    counts = f"{len(found.complete)} of {len(found.trials)} trials complete, {trained:.0f} of {planned} epochs"
    return seconds, min(trial.values[0] for trial in found.complete), counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, help="a folder with the MNIST files, gzipped")
    parser.add_argument("--digits", action="store_true", help="the 5,000 digits instead")
    parser.add_argument("--trials", type=int, default=48)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--overrides", nargs="*", default=[], help="of vae-train, e.g. trainer=gpu data.device=cuda")
    options = parser.parse_args()
    data = ["data=mnist_5k"] if options.digits else [f"data.root={options.root.resolve()}"]
    print(f"{cores()} cores", flush=True)
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in options.ways}
    for repeat in range(options.repeats):
        for way in options.ways:
            given = [*data, f"hydra.sweeper.n_trials={options.trials}", f"hydra.sweeper.sampler.seed={repeat}"]
            with tempfile.TemporaryDirectory() as folder:
                seconds, best, counts = search(Path(folder), [*given, *WAYS[way], *options.overrides])
            found[way].append((seconds, best))
            print(f"{way:30}{seconds:8.1f} s   best {best:.2f}   {counts}", flush=True)
    first, *_ = found.values()
    for way, runs in found.items():
        ratio = statistics.median(a / b for (a, _), (b, _) in zip(first, runs, strict=True))
        worse = statistics.mean(b - a for (_, a), (_, b) in zip(first, runs, strict=True))
        print(f"{way:30}{ratio:6.2f} times as fast as {options.ways[0]}, best {worse:+.2f} nats")


if __name__ == "__main__":
    main()
