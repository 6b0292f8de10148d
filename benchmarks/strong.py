"""Compare the strong experiment with the article's ten epochs in plain PyTorch, in one run.

    python benchmarks/strong.py --root DIR

DIR holds the MNIST files, gzipped. The article's model is trained for ten epochs, half of them before and half after
``vae-train experiment=strong``, with torchvision's MNIST in a DataLoader, Adam with its defaults, and ``loss.item()``
at every step. For ``vae-train``, the whole command is timed.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from article import article
from mnist_files import unpack
from single_run import timed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    options = parser.parse_args()
    root = Path(options.root).resolve()
    with tempfile.TemporaryDirectory() as scratch:
        unpack(root, Path(scratch))
        for seed in options.seeds:
            plain = [sum(timed(epoch) for epoch in [article(Path(scratch), torch.device("cpu"))] * 5)]
            began = time.perf_counter()
            run = Path(scratch, str(seed))
            command = [sys.executable, "-m", "vae_lightning.commands.train", "experiment=strong", f"data.root='{root}'"]
            subprocess.run([*command, f"seed={seed}", f"hydra.run.dir='{run}'"], check=True, stdout=subprocess.DEVNULL)
            whole = time.perf_counter() - began
            plain.append(sum(timed(epoch) for epoch in [article(Path(scratch), torch.device("cpu"))] * 5))
            metrics = json.loads((run / "metrics.json").read_text())
            print(
                f"seed {seed}: strong {whole:.1f} s in all, {metrics['fit_seconds']:.1f} s of training; "
                f"the article's ten epochs {sum(plain):.1f} s ({plain[0]:.1f} before, {plain[1]:.1f} after): "
                f"{whole / sum(plain):.2f}; test loss {metrics['test/loss']:.2f}, "
                f"probe {metrics['probe/test_acc']:.4f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
