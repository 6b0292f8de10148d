"""Measure training speed, in images per second, on one device and on several (DDP).

    python benchmarks/devices.py --root DIR                      # two CPU processes
    python benchmarks/devices.py --root DIR --trainer ddp        # all GPUs of the machine against one

DIR holds the MNIST files. For each batch size, ``vae-train experiment=article`` runs once with one device and once with
several; images per second are those of the fastest epoch, according to its printed line. With a model this small, a
step is short and leaves the device mostly idle, so the result mainly shows the cost of synchronising the gradient at
every step; larger batches cost less.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

EPOCHS = 3


def images_per_second(root: Path, trainer: list[str], batch_size: int) -> tuple[float, float]:
    """Return the training images per second and the last epoch's loss."""
    command = [
        sys.executable,
        "-m",
        "vae_lightning.commands.train",
        "experiment=article",
        f"data.root={root}",
        *trainer,
    ]
    options = [f"trainer.max_epochs={EPOCHS}", f"data.batch_size={batch_size}", "callbacks.probe=null"]
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            [*command, *options, "hydra.run.dir=run"], cwd=folder, check=True, capture_output=True, text=True
        )
        metrics = json.loads((Path(folder) / "run/metrics.json").read_text())
    seconds = [float(line.split()[-2]) for line in done.stdout.splitlines() if line.startswith("epoch ")]
    return 60_000 / min(seconds), metrics["train/loss"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--trainer", default="ddp_cpu")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[64, 512, 4096])
    options = parser.parse_args()
    one = ["trainer=cpu" if options.trainer == "ddp_cpu" else "trainer=gpu"]
    print(f"{'batch':>6}{'one, images/s':>16}{'several':>12}{'ratio':>8}   training loss")
    for batch_size in options.batch_sizes:
        alone, loss = images_per_second(options.root.resolve(), one, batch_size)
        several, same_loss = images_per_second(options.root.resolve(), [f"trainer={options.trainer}"], batch_size)
        print(
            f"{batch_size:6}{alone:16,.0f}{several:12,.0f}{several / alone:8.2f}   {loss:.6f} {same_loss:.6f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
