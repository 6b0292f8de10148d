"""Pictures of a run: loss curves, reconstructions, samples from the prior."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from matplotlib.figure import Figure
from torch import Tensor
from torchvision.utils import make_grid

from vae_lightning.streams import generator
from vae_lightning.vae import VAE

__all__ = ["Figures", "draw_curves", "draw_images"]


def draw_images(images: Tensor, columns: int, title: str) -> Figure:
    """A grid of images ``(N, C, H, W)`` with values in [0, 1], row by row."""
    grid = make_grid(images.cpu(), nrow=columns, padding=1, pad_value=0.5).permute(1, 2, 0)
    rows = -(-len(images) // columns)
    figure = Figure(figsize=(0.5 * columns, 0.5 * rows + 0.4), dpi=120, layout="constrained")
    axes = figure.subplots()
    axes.imshow(grid.numpy(), vmin=0, vmax=1, interpolation="nearest")
    axes.set_title(title, fontsize=9)
    axes.set_axis_off()
    return figure


def draw_curves(history: Sequence[Mapping[str, float]]) -> Figure:
    """Loss, reconstruction and KL over the epochs, for training and, where there is one, validation.

    Arguments:
        history: an item an epoch, with keys such as ``train/loss`` and ``val/kl``.
    """
    figure = Figure(figsize=(9, 2.8), dpi=120)
    # Margins by hand: it comes once a job, and finding them takes matplotlib as long as all the rest.
    figure.subplots_adjust(left=0.07, right=0.99, bottom=0.18, top=0.9)
    titles = {"loss": "loss = -ELBO", "recon": "reconstruction", "kl": "KL"}
    for axes, (term, title) in zip(figure.subplots(1, 3), titles.items(), strict=True):
        for stage in ("train", "val"):
            points = [
                (epoch, metrics[f"{stage}/{term}"])
                for epoch, metrics in enumerate(history, 1)
                if f"{stage}/{term}" in metrics
            ]
            if points:
                axes.plot(*zip(*points, strict=True), label=stage, marker="." if len(points) < 30 else None)
        axes.set_title(title, fontsize=9)
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("nats per image")
    figure.axes[0].legend()
    return figure


class Figures(Callback):
    """Writes ``reconstructions.png`` and ``samples.png`` when the Trainer tests.

    Arguments:
        directory: where they go.
        reconstructions: how many test images are shown over their reconstructions.
        samples: how many samples from the prior.
    """

    def __init__(self, directory: str, reconstructions: int = 16, samples: int = 64) -> None:
        self.directory, self.reconstructions, self.samples = Path(directory), reconstructions, samples

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, VAE)
        if not trainer.is_global_zero:
            return
        images = next(iter(trainer.datamodule.test_dataloader()))[0][: self.reconstructions]  # type: ignore[attr-defined]
        noise = torch.randn(self.samples, pl_module.latent_dim, generator=generator(pl_module.seed, "prior"))
        with torch.no_grad():
            weights = next(pl_module.parameters())
            images = images.to(weights)
            pairs = torch.cat([images, pl_module.reconstruct(images)]).float()
            samples = pl_module.sample(self.samples, noise.to(weights)).float()
        self._save(draw_images(pairs, len(images), "test images over their reconstructions"), "reconstructions.png")
        self._save(draw_images(samples, 16, "samples from the prior"), "samples.png")

    def _save(self, figure: Figure, name: str) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        figure.savefig(self.directory / name, bbox_inches="tight")
