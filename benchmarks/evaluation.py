"""Time vae-eval: the decoder's passes by way of computing the products, and whole commands by protocol.

    python benchmarks/evaluation.py --root DIR

DIR holds the MNIST files. Each round times log p(x) of a few test images for untrained models of three shapes, with
products in single precision by torch's default, with ``torch.set_float32_matmul_precision("medium")``, and in bfloat16
(``trainer.precision=bf16-mixed``), in turn. Each estimate is compared with that of the first way, from the same noise.
With ``--commands``, the models are trained for one epoch each, and ``vae-eval`` is timed as a whole command;
``--burda`` also times ``protocol=burda``, which takes many minutes.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch

from vae_lightning import VAE, MNISTDataModule, cpu
from vae_lightning.evaluation.log_likelihood import LogLikelihood, log_likelihood

SHAPES: dict[str, dict[str, object]] = {
    "article": {},
    "burda_vae": {"latent_dim": 50, "widths": [200, 200], "activation": "tanh"},
    "strong": {"latent_dim": 32, "widths": [512, 512], "decoder_widths": [512, 768], "activation": "silu"},
}
WAYS = ("single", "medium", "bfloat16")


@contextmanager
def products(way: str) -> Iterator[None]:
    """Compute matrix products in this way within the block."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest" if way == "single" else "medium")
    try:
        with torch.autocast("cpu", torch.bfloat16) if way == "bfloat16" else nullcontext():
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def passes(root: Path, rounds: int, images: int, samples: int) -> None:
    data = MNISTDataModule(root=str(root))
    data.prepare_data()
    data.setup("test")
    x = next(iter(data.test_dataloader()))[0][:images]
    print(f"{'':12}" + "".join(f"{way + ', us a sample':>26}" for way in WAYS) + "   differences from the first, nats")
    for name, shape in SHAPES.items():
        vae, seconds, found = VAE(**shape), {way: list[float]() for way in WAYS}, dict[str, LogLikelihood]()  # type: ignore[arg-type]
        for _ in range(rounds):
            for way in WAYS:
                with products(way):
                    log_likelihood(vae, x[:1], samples)  # warm up
                    began = time.perf_counter()
                    found[way] = log_likelihood(vae, x, samples)
                    seconds[way].append((time.perf_counter() - began) / images / samples * 1e6)
        times = [f"{min(each):.2f} ({statistics.median(each):.2f})" for each in seconds.values()]
        apart = [float((found[way].estimate - found["single"].estimate).abs().max()) for way in WAYS[1:]]
        print(f"{name:12}" + "".join(f"{shown:>26}" for shown in times) + "".join(f"{each:12.2g}" for each in apart))


def commands(root: Path, burda: bool) -> None:
    for name in SHAPES:
        with tempfile.TemporaryDirectory() as scratch:
            run = [f"data.root='{root}'", "trainer=cpu", "trainer.max_epochs=1", f"hydra.run.dir='{scratch}/run'"]
            execute("train", f"experiment={name}", *run, "callbacks.figures=null")
            for protocol in ("quick", "burda") if burda else ("quick",):
                seconds = execute("evaluate", f"run='{scratch}/run'", f"protocol={protocol}", "trainer=cpu")
                print(f"{name:12} protocol={protocol}: {seconds:.1f} s", flush=True)


def execute(command: str, *arguments: str) -> float:
    """Run a command and return the seconds that it takes."""
    began = time.perf_counter()
    line = [sys.executable, "-m", f"vae_lightning.commands.{command}", *arguments]
    subprocess.run(line, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=10)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--commands", action="store_true")
    parser.add_argument("--burda", action="store_true")
    options = parser.parse_args()
    cpu.prepare()
    print(f"{torch.get_num_threads()} threads, {options.rounds} rounds: minimum (median)")
    passes(options.root.resolve(), options.rounds, options.images, options.samples)
    if options.commands or options.burda:
        commands(options.root.resolve(), options.burda)


if __name__ == "__main__":
    main()
