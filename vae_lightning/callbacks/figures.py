"""Pictures of the model: logged to trackers during training, written as PNG files at the test."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from vae_lightning.config.arguments import checked
from vae_lightning.config.errors import InputError
from vae_lightning.data.selection import places, watched_images
from vae_lightning.evaluation.figures import kl_of, write_figures
from vae_lightning.evaluation.pictures import pictures, visible
from vae_lightning.models.vae import VAE
from vae_lightning.trackers.media import show_embedding, show_histogram, show_image

__all__ = ["Figures"]


class Figures(Callback):
    """Logs pictures of the model to trackers during training, and writes PNG files when the Trainer tests.

    During training, the :func:`vae_lightning.evaluation.pictures.pictures` of validation images go to the loggers that
    accept images, and so does a histogram of the KL by dimension after each validation. Without validation, both use
    training images, as many as the projector shows. A resumed run logs the latest ones again, because its loggers may
    have missed them.

    At the test, the callback writes the pictures of test images, ``latent_space.png`` and ``kl_by_dimension.png``, and
    sends the posterior means, the labels and thumbnails to TensorBoard's projector.

    Arguments:
        directory: the folder for the PNG files.
        every_n_epochs: epochs between two sets of pictures; if None, at most ten sets are logged, because TensorBoard
            keeps ten pictures per tag.
        reconstructions: number of images shown above their reconstructions.
        samples: number of samples from the prior.
        embedded: number of images in the projector and in ``latent_space.png``.

    Raises:
        InputError: if an argument breaks its rule (:mod:`vae_lightning.callbacks.rules`), or the Trainer has no
            datamodule.
    """

    @checked
    def __init__(
        self,
        directory: str,
        every_n_epochs: int | None = None,
        reconstructions: int = 16,
        samples: int = 64,
        embedded: int = 1000,
    ) -> None:
        self.directory, self.every_n_epochs = Path(directory), every_n_epochs
        self.reconstructions, self.samples, self.embedded = reconstructions, samples, embedded
        self._kl: list[float] | None = None  # of the last histogram
        self._watched: tuple[Tensor, str] | None = None  # the images to log during training, and their stage
        self._started = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if trainer.datamodule is None:  # type: ignore[attr-defined]
            raise InputError("Figures needs a datamodule: pass datamodule=... to the Trainer's fit and test")

    def state_dict(self) -> dict[str, object]:
        return {"kl_by_dimension": self._kl}

    def load_state_dict(self, state_dict: dict[str, object]) -> None:
        self._kl = state_dict["kl_by_dimension"]  # type: ignore[assignment]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._watched, self._started = None, True
        if trainer.is_global_zero and trainer.loggers:
            data = trainer.datamodule  # type: ignore[attr-defined]
            count = max(self.embedded, self.reconstructions)
            watched, stage = watched_images(data, count, _vae(pl_module).image_shape)
            self._watched = _vae(pl_module).examples(watched), stage
            if trainer.current_epoch > 0:  # resumed
                self._show_kl(trainer)
                self._show_pictures(trainer, pl_module, trainer.current_epoch)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self._started:  # nothing was left to train
            self.on_train_start(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        kl = _vae(pl_module).kl_by_dimension
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking and kl is not None:
            self._kl = kl.tolist()
            self._show_kl(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._watched is not None and self._watched[1] == "train":
            self._kl = kl_of(_vae(pl_module), self._watched[0]).tolist()
            self._show_kl(trainer)
        self._show_pictures(trainer, pl_module, trainer.current_epoch + 1)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero:
            batches = trainer.datamodule.test_dataloader()  # type: ignore[attr-defined]
            images, mean, labels = self.write(_vae(pl_module), batches, "test images")
            show_embedding(trainer.loggers, "mu", mean, labels, visible(images))

    def write(self, vae: VAE, batches: Iterable[Any], title: str) -> tuple[Tensor, Tensor, Tensor | None]:
        """Write the PNG files with :func:`vae_lightning.evaluation.figures.write_figures`; return its result."""
        return write_figures(self.directory, vae, batches, title, self.reconstructions, self.samples, self.embedded)

    def _show_kl(self, trainer: Trainer) -> None:
        if self._watched is not None and self._kl is not None:
            show_histogram(trainer.loggers, "visuals/kl_by_dimension", torch.tensor(self._kl), trainer.global_step)

    def _show_pictures(self, trainer: Trainer, pl_module: LightningModule, epochs: int) -> None:
        if self._watched is None or epochs % (self.every_n_epochs or max(1, -(-(trainer.max_epochs or 1) // 10))):
            return
        images, _ = self._watched
        reconstructed = images[places(len(images), self.reconstructions)]
        kl = None if self._kl is None else torch.tensor(self._kl)
        # The group comes after the metrics in TensorBoard, which sorts by name. The plane shows what traversals would.
        drawn = pictures(_vae(pl_module), reconstructed, samples=self.samples, kl=kl)
        shown = {picture.name: picture for picture in drawn}
        if "manifold" in shown:
            del shown["traversals"]
        for name, picture in shown.items():
            show_image(trainer.loggers, f"visuals/{name}", picture.grid(), trainer.global_step)


def _vae(module: LightningModule) -> VAE:
    assert isinstance(module, VAE), f"Figures needs a VAE, but the model is a {type(module).__name__}"
    return module
