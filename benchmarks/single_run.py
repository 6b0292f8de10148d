"""Time an epoch of the reference experiment: the article's implementation, a plain loop, and vae-train as users run it.

    python benchmarks/single_run.py --root DIR                   # blocks of steps
    python benchmarks/single_run.py --root DIR --block-size 1    # Lightning's automatic optimisation
    python benchmarks/single_run.py --root DIR --trainer gpu     # all three on a GPU, (b) with the images there

DIR holds the MNIST files. One process runs ``vae-train experiment=article`` on a pseudo-terminal, with progress bar,
curves and checkpoints. Before each of its epochs, a callback runs an epoch of each of the two others, because on a
shared machine only measurements close in time can be compared:

(a) plain PyTorch with torchvision's MNIST in a DataLoader, Adam with its defaults, and ``loss.item()`` at every step;
(b) a plain loop over images in memory with fused Adam, the fastest that PyTorch can do this;
(c) vae-train's own epoch, until its checkpoint is written.

The whole command is timed too, including start-up, test, probe and pictures, but without the time of the callback.
"""

import argparse
import json
import os
import pty
import statistics
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable
from pathlib import Path

import torch
from article import article, plain
from lightning.pytorch import Callback, LightningModule, Trainer
from mnist_files import unpack

from vae_lightning.data.mnist import MNISTDataModule
from vae_lightning.matmul_precision import matmul_precision


def synchronize() -> None:
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()


def timed(epoch: Callable[[], None]) -> float:
    began = time.perf_counter()
    epoch()
    synchronize()
    return time.perf_counter() - began


class Beside(Callback):
    """Times an epoch of (a) and of (b) before each of the Trainer's epochs, and that epoch; writes all to a file."""

    def __init__(self, root: str, result: str, device: str) -> None:
        began = time.perf_counter()
        self.result = Path(result)
        self.scratch = tempfile.TemporaryDirectory()
        unpack(Path(root), Path(self.scratch.name))
        data = MNISTDataModule(root=root, val_size=0)
        data.setup()
        assert data.train is not None
        images = data.train[torch.arange(len(data.train))][0].flatten(1)
        self.article = article(Path(self.scratch.name), torch.device(device))
        _, self.plain = plain(images.to(device))
        self.times: dict[str, list[float]] = {"a": [], "b": [], "c": []}
        self.own = time.perf_counter() - began

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stop()
        began = time.perf_counter()
        with matmul_precision("highest"):  # as in any process where nobody asks for another
            self.times["a"].append(timed(self.article))
            self.times["b"].append(timed(self.plain))
        synchronize()
        self.began = time.perf_counter()
        self.own += self.began - began

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stop()
        self.scratch.cleanup()
        self.result.write_text(json.dumps({**self.times, "own": self.own}))

    def _stop(self) -> None:
        if len(self.times["c"]) < len(self.times["a"]):
            synchronize()
            self.times["c"].append(time.perf_counter() - self.began)


def on_terminal(command: list[str]) -> float:
    """Run a command with its output on a pseudo-terminal, and return its seconds."""
    began = time.perf_counter()
    terminal, end = pty.openpty()
    termios.tcsetwinsize(end, (24, 100))  # without a size, there would be no progress bar
    with subprocess.Popen(command, stdout=end, stderr=end) as process:
        os.close(end)
        shown = b""
        try:
            while chunk := os.read(terminal, 65536):
                shown += chunk
        except OSError:  # marks the end of a terminal on Linux
            pass
    os.close(terminal)
    if process.returncode:
        raise SystemExit(shown.decode())
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True, help="a folder with the MNIST files, gzipped")
    parser.add_argument("--block-size", default="auto", help="data.block_size: 1 for a batch at a time")
    parser.add_argument("--trainer", default="cpu", choices=["cpu", "gpu"])
    parser.add_argument("overrides", nargs="*", help="of vae-train, e.g. data.device=cuda")
    options = parser.parse_args()
    device = "cuda" if options.trainer == "gpu" else "cpu"
    root = str(Path(options.root).resolve())
    with tempfile.TemporaryDirectory() as scratch:
        paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
        os.environ["PYTHONPATH"] = os.pathsep.join(paths)
        result = Path(scratch) / "times.json"
        wall = on_terminal(
            [
                *(sys.executable, "-m", "vae_lightning.commands.train", "experiment=article"),
                f"trainer={options.trainer}",
                *(f"data.root={root}", f"hydra.run.dir={scratch}/run"),
                f"data.block_size={options.block_size}",
                f"+callbacks.beside={{_target_:single_run.Beside,root:'{root}',result:'{result}',device:{device}}}",
                *options.overrides,
            ]
        )
        times = json.loads(result.read_text())
    a, b, c = (times[name] for name in "abc")
    whole = wall - times["own"]
    print(f"{torch.get_num_threads()} threads; seconds an epoch, median of {len(c)} (least to most)")
    for name, values in (("(a) the article's way", a), ("(b) plain loop", b), ("(c) vae-train", c)):
        print(f"{name:26}{statistics.median(values):6.2f}  ({min(values):.2f} to {max(values):.2f})")
    print(f"{'vae-train, the whole':26}{whole:6.2f}")
    print("\nratios, epoch by epoch: median (quartiles)")
    for name, below in (("(c) / (a)", a), ("(c) / (b)", b)):
        low, middle, high = statistics.quantiles([x / y for x, y in zip(c, below, strict=True)], n=4)
        print(f"{name:26}{middle:6.2f}  ({low:.2f} to {high:.2f})")
    print(f"{'the whole / all of (a)':26}{whole / sum(a):6.2f}")


if __name__ == "__main__":
    main()
