"""Measure how far a job's results vary with the order of floating-point sums: in a stack, or on two processes (DDP).

    python benchmarks/spread.py --root DIR

DIR holds the MNIST files. Six jobs (latent_dim 2 and 20, three learning rates), three epochs each, run three times:
one after another; one after another with two processes each, which sum the halves of every gradient; and as a stack.
For each job, the table shows the first run's test loss and probe accuracy, and the differences of the two other runs.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd

METRICS = ("test/loss", "probe/test_acc")


def results(root: Path, *options: str) -> pd.DataFrame:
    sweep = ["-m", "experiment=latent_lr", "model.latent_dim=2,20", "trainer.max_epochs=3", "sweep.name=s", *options]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "vae_lightning.commands.train", *sweep, f"data.root={root}"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
        return pd.read_csv(Path(folder) / "outputs/sweeps/s/results.csv").set_index("job")[list(METRICS)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    root = parser.parse_args().root.resolve()
    alone = results(root)
    others = {"processes": results(root, "trainer=ddp_cpu"), "stacked": results(root, "hydra/launcher=stacked")}
    table = alone.copy()
    for name, other in others.items():
        for metric in METRICS:
            table[f"{metric}, {name}"] = other[metric] - alone[metric]
    print(table.to_string(float_format=lambda value: f"{value:.4f}"))
    differences = table.drop(columns=list(METRICS)).abs()
    print("\nlargest difference:", differences.max().map("{:.4f}".format).to_dict())


if __name__ == "__main__":
    main()
