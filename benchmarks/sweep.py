"""Time a whole sweep: as stacks, one job after another, jobs side by side, and as a plain loop for each job.

    python benchmarks/sweep.py --root DIR
    python benchmarks/sweep.py --root DIR --experiment article

DIR holds the MNIST files. Each round runs the same ``vae-train -m`` once with every launcher: Hydra's own, which runs
one job after another on all cores; the stacked launcher; and those of submitit and Ray, where each job has its share of
the cores. Times cover the whole command, including start-up, the imports of every process, probe, pictures and report.

The plain loop is a minimal hand-written version: images in memory, fused Adam, a test loss, scikit-learn's logistic
regression. It does not validate, save or draw anything, and all jobs share the start-up of one process.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd
import torch
from article import plain
from sklearn.linear_model import LogisticRegression

from vae_lightning import MNISTDataModule
from vae_lightning.runs.environment import cores

# Each experiment's jobs, and their (latent_dim, epochs) for the plain loop; the learning rate does not affect the time.
SWEEPS = {
    "latent_lr": (["experiment=latent_lr"], [(latent_dim, 5) for latent_dim in (2, 5, 10, 20) for _ in range(3)]),
    "article": (["experiment=article", "seed=1,2"], [(20, 10), (20, 10)]),
}
PART = max(1, cores() // 2)
LAUNCHERS = {
    "job after job": [],
    "stacked": ["hydra/launcher=stacked"],
    "submitit_local": ["hydra/launcher=submitit_local", f"hydra.launcher.cpus_per_task={PART}"],
    "ray": ["hydra/launcher=ray", f"hydra.launcher.ray.remote.num_cpus={PART}"],
}
PLAIN = "plain loop"


def sweep(root: Path, folder: str, options: list[str]) -> float:
    command = [
        sys.executable,
        "-m",
        "vae_lightning.commands.train",
        "-m",
        f"data.root={root}",
        "sweep.name=s",
        *options,
    ]
    began = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - began


def plain_loops(root: Path, jobs: list[tuple[int, int]]) -> float:
    began = time.perf_counter()
    data = MNISTDataModule(str(root), val_size=5000)
    data.setup()
    assert data.train is not None
    parts = [part.data for part in (data.train, data.test)]
    (images, labels), (test, test_labels) = ((part.images.flatten(1) / 255, part.labels) for part in parts)
    for latent_dim, epochs in jobs:
        vae, epoch = plain(images, latent_dim)
        for _ in range(epochs):
            epoch()
        with torch.no_grad():
            vae(test)
            mu, test_mu = (vae(part)[1].numpy() for part in (images, test))
        LogisticRegression(max_iter=1000).fit(mu, labels).score(test_mu, test_labels)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--experiment", choices=list(SWEEPS), default="latent_lr")
    parser.add_argument("--launchers", nargs="+", choices=[*LAUNCHERS, PLAIN], default=[*list(LAUNCHERS)[:3], PLAIN])
    parser.add_argument("--overrides", nargs="*", default=[], help="of vae-train, e.g. trainer=gpu data.device=cuda")
    options = parser.parse_args()
    root = options.root.resolve()
    overrides, jobs = SWEEPS[options.experiment]
    overrides = [*overrides, *options.overrides]
    seconds: dict[str, list[float]] = {name: [] for name in options.launchers}
    for _ in range(options.rounds):
        for name in options.launchers:
            shown = ""
            if name == PLAIN:
                seconds[name].append(plain_loops(root, jobs))
            else:
                with tempfile.TemporaryDirectory() as folder:
                    seconds[name].append(sweep(root, folder, [*overrides, *LAUNCHERS[name]]))
                    table = pd.read_csv(Path(folder) / "outputs/sweeps/s/results.csv")
                shown = (
                    f"test loss {table['test/loss'].mean():.3f}, probe {table['probe/test_acc'].mean():.4f} on average"
                )
            print(f"{name:16}{seconds[name][-1]:9.1f} s   {shown}", flush=True)
    first = seconds[options.launchers[0]]
    for name, times in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(first, times, strict=True))
        print(f"{name:16}median {statistics.median(times):7.1f} s, {ratio:.2f} times as fast as {options.launchers[0]}")


if __name__ == "__main__":
    main()
