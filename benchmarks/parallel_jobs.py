"""Seconds of a sweep of two jobs in turn and side by side, as users run them.

    python benchmarks/parallel_jobs.py --root DIR

DIR holds the MNIST files. Each round runs ``vae-train -m experiment=article seed=1,2`` once with every launcher:
Hydra's own, one job after the other on all cores, and Ray and submitit, where each job has its part of the cores. Times
are of the whole command, the engine's start and every process's imports included.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

from vae_lightning.run_directory import cores

LAUNCHERS = {
    "in turn": [],
    "submitit_local": ["hydra/launcher=submitit_local", f"hydra.launcher.cpus_per_task={max(1, cores() // 2)}"],
    "ray": ["hydra/launcher=ray", f"hydra.launcher.ray.remote.num_cpus={max(1, cores() // 2)}"],
}


def sweep(root: Path, folder: str, options: list[str]) -> float:
    command = [sys.executable, "-m", "vae_lightning.train", "-m", "experiment=article", "seed=1,2", "sweep.name=s"]
    began = time.perf_counter()
    subprocess.run([*command, f"data.root={root}", *options], cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    seconds: dict[str, list[float]] = {name: [] for name in LAUNCHERS}
    print(f"{'':16}{'seconds':>9}{'of in turn':>12}   test loss of each job")
    for _ in range(options.rounds):
        for name, launcher in LAUNCHERS.items():
            with tempfile.TemporaryDirectory() as folder:
                seconds[name].append(sweep(options.root.resolve(), folder, launcher))
                losses = pd.read_csv(Path(folder) / "outputs/sweeps/s/results.csv")["test/loss"]
            ratio = seconds[name][-1] / seconds["in turn"][-1]
            print(f"{name:16}{seconds[name][-1]:9.1f}{ratio:12.2f}   {', '.join(map(str, losses))}", flush=True)
    for name, times in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(times, seconds["in turn"], strict=True))
        print(f"{name}: median {statistics.median(times):.1f} s, {ratio:.2f} of in turn")


if __name__ == "__main__":
    main()
