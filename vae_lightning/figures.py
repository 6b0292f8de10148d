"""Pictures of a run: what the model makes of images and of latents, and how training went."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from torch import Tensor
from torchvision.utils import make_grid

from vae_lightning.checks import FIGURES, InputError, check
from vae_lightning.data import ImageDataModule
from vae_lightning.posterior import kl_per_dimension
from vae_lightning.run_directory import write_figure
from vae_lightning.streams import generator
from vae_lightning.trackers import show_embedding, show_histogram, show_image
from vae_lightning.vae import VAE, Posterior, evaluating

__all__ = [
    "Figures",
    "Picture",
    "draw_curves",
    "draw_kl",
    "draw_latent_space",
    "draw_picture",
    "pictures",
]

# Of a traversal: the most dimensions, and the values that each takes.
DIMENSIONS, VALUES = 10, torch.linspace(-3, 3, 11)
# Images along a side of the manifold.
SIDE = 20
# Pixels of a picture for one of an image, and the most of them along a side.
ENLARGED, LARGEST = 2, 2000
# Powers of ten from which on an axis has a factor, so that its numbers are short: margins are fixed, since to find them
# takes matplotlib as long as all the rest.
SHORT = (-2, 4)
# Labels below one another in a legend.
ROWS = 24


class Picture(NamedTuple):
    """Images in rows.

    Attributes:
        name: e.g. of its file.
        title: what it shows.
        images: ``(N, C, H, W)``, in [0, 1], row by row.
        columns: in a row.
    """

    name: str
    title: str
    images: Tensor
    columns: int

    def grid(self) -> Tensor:
        """All of it as one image, ``(3, H, W)``."""
        grid: Tensor = make_grid(_visible(self.images), nrow=self.columns, padding=1, pad_value=0.5)
        return grid


def _visible(images: Tensor) -> Tensor:
    """Images of one or three channels as they are; of others the channels side by side."""
    return images if images.shape[1] in (1, 3) else images.movedim(1, -2).flatten(-2)[:, None]


def pictures(
    vae: VAE, images: Tensor, what: str = "images", samples: int = 64, kl: Tensor | None = None
) -> list[Picture]:
    """What a model makes of images, of the prior and of its latents; it is in eval mode meanwhile.

    - ``reconstructions``: the images over their reconstructions.
    - ``samples``: of the prior, by the same noise each time, so that one can see them grow.
    - ``traversals``: the first image's mu with one dimension after the other set to -3 to 3, a row for each of the
      ten dimensions with the largest KL.
    - ``manifold``, if there are two latent dimensions: decoded from the quantiles of the prior (Auto-Encoding
      Variational Bayes, Kingma and Welling, 2014, figure 4; https://arxiv.org/abs/1312.6114).

    Arguments:
        vae: the model.
        images: ``(N, C, H, W)``, in [0, 1].
        what: they are, for the title.
        samples: how many.
        kl: by dimension, ``(latent_dim,)``; if None, that of the images.
    """
    weights = next(vae.parameters())
    noise = torch.randn(samples, vae.latent_dim, generator=generator(vae.seed, "prior"))

    def decoded(z: Tensor) -> Tensor:
        return vae.likelihood.mean(vae.decode(z.to(weights))).float().cpu()

    with evaluating(vae):
        posterior = vae.encode(images.to(weights))
        if kl is None:
            kl = kl_per_dimension(posterior.mu.cpu(), posterior.logvar.cpu())
        dimensions = kl.argsort(descending=True, stable=True)[:DIMENSIONS]
        moved = posterior.mu[0].cpu().repeat(len(dimensions), len(VALUES), 1)
        for row, dimension in zip(moved, dimensions, strict=True):
            row[:, dimension] = VALUES
        drawn = [
            Picture(
                "reconstructions",
                f"{what} over their reconstructions",
                torch.cat([images.float().cpu(), decoded(posterior.mu)]),
                len(images),
            ),
            Picture("samples", "samples from the prior", decoded(noise), 16),
            Picture(
                "traversals",
                f"each row moves one dimension from -3 to 3; from the top: {', '.join(map(str, dimensions.tolist()))}",
                decoded(moved.flatten(0, 1)),
                len(VALUES),
            ),
        ]
        if vae.latent_dim == 2:
            quantiles = torch.special.ndtri(torch.linspace(0.02, 0.98, SIDE))
            z = torch.cartesian_prod(quantiles.flip(0), quantiles).flip(1)
            title = "the latent plane by quantiles of the prior: dimension 0 to the right, dimension 1 upwards"
            drawn.append(Picture("manifold", title, decoded(z), SIDE))
    return drawn


def draw_picture(picture: Picture) -> Figure:
    """Its grid under its title."""
    grid, title = picture.grid(), picture.title
    dpi = 120
    scale = min(ENLARGED, LARGEST / max(grid.shape[1:])) / dpi
    height, width = (max(0.5, scale * size) for size in grid.shape[1:])  # inches
    width = max(width, 0.075 * len(title))
    figure = Figure(figsize=(width, height + 0.3), dpi=dpi)
    axes = figure.add_axes((0.01, 0.01, 0.98, height / (height + 0.3)))
    axes.imshow(
        grid.permute(1, 2, 0).numpy(),
        vmin=0,
        vmax=1,
        interpolation="nearest" if scale * dpi == ENLARGED else "antialiased",
    )
    axes.set_title(title, fontsize=9)
    axes.set_axis_off()
    return figure


def draw_curves(history: Sequence[Mapping[str, float]]) -> Figure:
    """Loss, reconstruction and KL over the epochs, for training and, where there is one, validation.

    Arguments:
        history: an item an epoch, with keys such as ``train/loss`` and ``val/kl``.
    """
    figure = Figure(figsize=(9, 2.8), dpi=120)
    figure.subplots_adjust(left=0.07, right=0.98, bottom=0.18, top=0.9, wspace=0.28)
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
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.ticklabel_format(axis="y", scilimits=SHORT)
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylabel("nats per image")
    figure.axes[0].legend()
    return figure


def draw_kl(kl: Tensor, what: str = "images") -> Figure:
    """The KL of each latent dimension, the largest first.

    Arguments:
        kl: nats, ``(latent_dim,)``.
        what: it is the mean over.
    """
    order = kl.argsort(descending=True, stable=True)
    figure = Figure(figsize=(7, 2.8), dpi=120)
    figure.subplots_adjust(left=0.09, right=0.99, bottom=0.18, top=0.9)
    axes = figure.subplots()
    axes.bar(range(len(kl)), kl[order].tolist())
    axes.set_xlim(-0.6, max(len(kl), 8) - 0.4)  # few bars are no wider than these
    axes.set_ylim(0, max(1.05 * float(kl.max()), 0.01))
    if len(kl) <= 32:
        axes.set_xticks(range(len(kl)), order.tolist(), fontsize=8)
        axes.set_xlabel("latent dimension")
    else:
        axes.set_xticks([])
        axes.set_xlabel(f"the {len(kl)} latent dimensions, the largest KL first")
    axes.set_ylabel("nats")
    axes.ticklabel_format(axis="y", scilimits=SHORT)
    axes.set_title(f"KL by dimension, mean over {what}; in all {float(kl.sum()):.2f} nats", fontsize=9)
    axes.grid(alpha=0.3, axis="y")
    return figure


def draw_latent_space(mu: Tensor, labels: Tensor, what: str = "images") -> Figure:
    """Each image's mu, coloured by its label: in two dimensions as it is, of more the first two principal components.

    A single dimension is shown by label.

    Arguments:
        mu: ``(N, latent_dim)``, of two images or more.
        labels: ``(N,)``.
        what: the images are.
    """
    labels = labels.cpu()
    points, names = _in_plane(mu.double().cpu().numpy(), labels.numpy())
    classes = sorted(set(labels.tolist()))
    colours = colormaps["tab10" if len(classes) <= 10 else "turbo"].resampled(max(10, len(classes)))
    columns = -(-len(classes) // ROWS)
    width = 5.4 + 0.6 * columns
    figure = Figure(figsize=(width, 5), dpi=120)
    figure.subplots_adjust(left=0.66 / width, right=5.1 / width, bottom=0.11, top=0.93)
    axes = figure.subplots()
    for place, label in enumerate(classes):
        own = points[(labels == label).numpy()]
        axes.scatter(own[:, 0], own[:, 1], s=8, color=colours(place), label=str(label))
    axes.set_xlabel(names[0])
    axes.set_ylabel(names[1])
    axes.ticklabel_format(scilimits=SHORT)
    axes.set_title(f"mu of {len(mu)} {what}", fontsize=9)
    axes.grid(alpha=0.3)
    figure.legend(loc="center right", fontsize=8, markerscale=2, ncols=columns, handletextpad=0, columnspacing=0.5)
    return figure


def _in_plane(mu: NDArray[np.float64], labels: NDArray[np.int64]) -> tuple[NDArray[np.float64], tuple[str, str]]:
    """Points ``(N, 2)``, and what their axes are."""
    if mu.shape[1] == 1:
        return np.column_stack([mu, labels]), ("mu, dimension 0", "label")
    if mu.shape[1] == 2:
        return mu, ("mu, dimension 0", "mu, dimension 1")
    centred = mu - mu.mean(0)
    variances, directions = np.linalg.eigh(centred.T @ centred)  # in rising order
    shares = variances / max(variances.sum(), np.finfo(float).tiny)
    first, second = (f"principal component {k}, {shares[-k]:.0%} of the variance" for k in (1, 2))
    return centred @ directions[:, [-1, -2]], (first, second)


class Figures(Callback):
    """Shows trackers what the model makes of images while it trains, and writes PNG files when the Trainer tests.

    While training, :func:`pictures` of validation images go to the loggers that show images, and after each validation
    so does a histogram of the KL by dimension. Without validation both are of training images, as many as the projector
    has. What a resumed run's loggers may have missed they are told again.

    With the test, pictures of test images, ``latent_space.png`` and ``kl_by_dimension.png`` are written, and
    TensorBoard's projector gets mu, the labels and thumbnails.

    Arguments:
        directory: where the files go.
        every_n_epochs: how often pictures are shown; if None, ten times in all at most, for TensorBoard keeps ten of a
            kind.
        reconstructions: how many images are shown over their reconstructions.
        samples: how many samples from the prior.
        embedded: how many images the projector and ``latent_space.png`` have.

    Raises:
        InputError: if an argument is not what :mod:`vae_lightning.checks` allows, or the Trainer has no datamodule.
    """

    def __init__(
        self,
        directory: str,
        every_n_epochs: int | None = None,
        reconstructions: int = 16,
        samples: int = 64,
        embedded: int = 1000,
    ) -> None:
        given = {
            "directory": directory,
            "every_n_epochs": every_n_epochs,
            "reconstructions": reconstructions,
            "samples": samples,
            "embedded": embedded,
        }
        check(given, FIGURES)
        self.directory, self.every_n_epochs = Path(directory), every_n_epochs
        self.reconstructions, self.samples, self.embedded = reconstructions, samples, embedded
        self._kl: list[float] | None = None  # what the histogram showed last
        self._images: Tensor | None = None  # what is shown while training
        self._validated = False  # whether they are validation's

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if trainer.datamodule is None:  # type: ignore[attr-defined]
            raise InputError("Figures needs a datamodule: pass datamodule=... to the Trainer's fit and test")

    def state_dict(self) -> dict[str, object]:
        return {"kl_by_dimension": self._kl}

    def load_state_dict(self, state_dict: dict[str, object]) -> None:
        self._kl = state_dict["kl_by_dimension"]  # type: ignore[assignment]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._images = None
        if trainer.is_global_zero and trainer.loggers:
            self._images, self._validated = _watched(trainer.datamodule, max(self.embedded, self.reconstructions))  # type: ignore[attr-defined]
            if trainer.current_epoch > 0:  # resumed
                self._show_kl(trainer)
                self._show_pictures(trainer, pl_module, trainer.current_epoch)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        kl = _vae(pl_module).kl_by_dimension
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking and kl is not None:
            self._kl = kl.tolist()
            self._show_kl(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._images is not None and not self._validated:
            self._kl = kl_per_dimension(*_posterior(_vae(pl_module), self._images)).tolist()
            self._show_kl(trainer)
        self._show_pictures(trainer, pl_module, trainer.current_epoch + 1)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            batches = trainer.datamodule.test_dataloader()  # type: ignore[attr-defined]
            images, mu, labels = self.write(_vae(pl_module), batches, "test images")
            show_embedding(trainer.loggers, "mu", mu, labels, images, trainer.global_step)

    def write(self, vae: VAE, batches: Iterable[tuple[Tensor, Tensor]], what: str) -> tuple[Tensor, Tensor, Tensor]:
        """Write the files; return the images of ``latent_space.png``, their mu and their labels.

        Arguments:
            vae: the model.
            batches: ``(images, labels)``, the images ``(B, C, H, W)`` in [0, 1].
            what: they are, for the titles.
        """
        images, labels = _spread(batches, max(self.embedded, self.reconstructions))
        mu, logvar = _posterior(vae, images)
        kl = kl_per_dimension(mu, logvar) if vae.kl_by_dimension is None else vae.kl_by_dimension
        few = images[_places(len(images), self.reconstructions)]
        drawn = {picture.name: draw_picture(picture) for picture in pictures(vae, few, what, self.samples, kl)}
        drawn |= {"latent_space": draw_latent_space(mu, labels, what), "kl_by_dimension": draw_kl(kl, what)}
        for name, figure in drawn.items():
            write_figure(self.directory / f"{name}.png", figure)
        return images, mu, labels

    def _show_kl(self, trainer: Trainer) -> None:
        if self._images is not None and self._kl is not None:
            tag = f"{'val' if self._validated else 'train'}/kl_by_dimension"
            show_histogram(trainer.loggers, tag, torch.tensor(self._kl), trainer.global_step)

    def _show_pictures(self, trainer: Trainer, pl_module: LightningModule, epochs: int) -> None:
        if self._images is None or epochs % (self.every_n_epochs or max(1, -(-(trainer.max_epochs or 1) // 10))):
            return
        few = self._images[_places(len(self._images), self.reconstructions)]
        kl = None if self._kl is None else torch.tensor(self._kl)
        for picture in pictures(_vae(pl_module), few, samples=self.samples, kl=kl):
            show_image(trainer.loggers, f"pictures/{picture.name}", picture.grid(), trainer.global_step)


def _vae(module: LightningModule) -> VAE:
    assert isinstance(module, VAE), f"Figures needs a VAE, and this is a {type(module).__name__}"
    return module


def _posterior(vae: VAE, images: Tensor) -> Posterior:
    with evaluating(vae):
        return Posterior(*(term.float().cpu() for term in vae.encode(images.to(next(vae.parameters())))))


def _watched(data: object, count: int) -> tuple[Tensor, bool]:
    """Validation images, and that they are; without any, training images."""
    batches = data.val_dataloader()  # type: ignore[attr-defined]
    if len(batches):
        return _spread(batches, count)[0], True
    if isinstance(data, ImageDataModule):
        assert data.train is not None
        return data.train[_places(len(data.train), count)][0], False
    return _spread(data.train_dataloader(), count)[0], False  # type: ignore[attr-defined]


def _spread(batches: Iterable[tuple[Tensor, Tensor]], count: int) -> tuple[Tensor, Tensor]:
    """So many images and their labels, evenly from all of them; all if there are fewer."""
    images, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    places = _places(len(images), count)
    return images[places], labels[places]


def _places(available: int, count: int) -> Tensor:
    return torch.arange(min(available, count)) * available // min(available, count)
