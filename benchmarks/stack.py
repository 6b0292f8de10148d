"""Measure the seconds per model and epoch of K models trained as one stack, and of one model at a time.

    python benchmarks/stack.py --root DIR

DIR holds the MNIST files. The models are those of ``experiment=latent_lr`` (latent_dim 2, 5, 10, 20; learning rates
3e-4, 1e-3, 3e-3), repeated up to K. Each round trains one model by itself, an ordinary VAE with an ordinary Trainer,
and then every stack, without callbacks, for 20 blocks of 16 steps after a warm-up of the same length, before and after
the plain loop of ``single_run.py``. The seconds are those of an epoch of 55,000 images at that speed, the least of two
for a stack and of four for the loop.
"""

import argparse
import time
from collections.abc import Callable
from itertools import cycle, islice, product
from pathlib import Path

import torch
from article import plain
from lightning.pytorch import Callback, LightningDataModule, Trainer
from single_run import timed

from vae_lightning import VAE, MNISTDataModule
from vae_lightning.data.stack_data import StackData
from vae_lightning.matmul_precision import matmul_precision
from vae_lightning.models.stack import Stack
from vae_lightning.models.trainable import Trainable
from vae_lightning.runs.trainers import chosen_matmul_precision
from vae_lightning.runs.warnings import filter_warnings

# Models with the same learning rate are adjacent, because they share the optimiser's steps.
GRID = [(latent_dim, lr) for lr, latent_dim in product((3e-4, 1e-3, 3e-3), (2, 5, 10, 20))]
# 20 blocks of 16 steps, in batches of 64.
IMAGES = 20 * 16 * 64


class EpochTimes(Callback):
    """Times each epoch, in seconds."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_train_epoch_start(self, *_: object) -> None:
        self.began = time.perf_counter()

    def on_train_epoch_end(self, *_: object) -> None:
        self.seconds.append(time.perf_counter() - self.began)


def epoch_seconds(module: Trainable, data: LightningDataModule, accelerator: str, compiled: bool) -> float:
    """Train as vae-train does: with the precision of matrix products that it would choose."""
    times = EpochTimes()
    trainer = Trainer(
        max_epochs=3,
        accelerator=accelerator,
        devices=1,
        callbacks=[times],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
    )
    if compiled:
        module.compile_step()
    count = len(module.vaes) if isinstance(module, Stack) else None
    node = {"accelerator": accelerator, "matmul_precision": "auto"}
    with matmul_precision(chosen_matmul_precision(node, module, 64, count)):
        trainer.fit(module, datamodule=data)
    return min(times.seconds[1:]) * 55_000 / IMAGES


def bare_loop(data: MNISTDataModule) -> Callable[[], float]:
    """Return a function that runs the plain loop of single_run.py once, and returns its seconds per epoch."""
    assert data.train is not None
    images = data.train[torch.arange(len(data.train), device=data.train.data.images.device)][0].flatten(1)
    _, epoch = plain(images)
    timed(epoch)
    return lambda: timed(epoch) * 55_000 / IMAGES


def models(count: int) -> list[VAE]:
    optimizer = {"_target_": "torch.optim.Adam", "fused": True}
    chosen = sorted(islice(cycle(GRID), count), key=lambda pair: pair[1])
    return [VAE(latent_dim, optimizer={**optimizer, "lr": lr}) for latent_dim, lr in chosen]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--accelerator", default="cpu")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 2, 4, 12, 24, 64])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    filter_warnings()
    device = "cpu" if options.accelerator == "cpu" else "cuda"
    data = MNISTDataModule(str(options.root), block_size=16, val_size=60_000 - IMAGES, device=device)
    data.prepare_data()
    data.setup()
    bare = bare_loop(data)
    print(
        f"{'K':>4}  {'order':8}{'s a model and epoch':>20}{'bare loop, s':>14}{'ratio':>7}{'alone, s':>10}{'faster':>8}"
    )
    for _ in range(options.rounds):
        alone = epoch_seconds(VAE(), data, options.accelerator, options.compile)
        for size in options.sizes:
            for order, seeds in (("shared", [0] * size), ("own", list(range(size)))):
                if size > 1 or order == "shared":
                    before = min(bare(), bare())
                    stack, stack_data = Stack(models(size)), StackData(data, seeds)
                    each = epoch_seconds(stack, stack_data, options.accelerator, options.compile) / size
                    loop = min(before, bare(), bare())
                    beside = f"{loop:14.2f}{each / loop:7.2f}{alone:10.2f}{alone / each:8.2f}"
                    print(f"{size:4}  {order:8}{each:20.2f}{beside}", flush=True)


if __name__ == "__main__":
    main()
