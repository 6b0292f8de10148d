"""Training speed."""

import math
import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from vae_lightning.models.batch import images_of
from vae_lightning.models.stack import Stack
from vae_lightning.models.vae import VAE

__all__ = ["Throughput"]


class Throughput(Callback):
    """Logs the training images per second of each epoch as ``speed/images_per_second``.

    The images of all processes count; the time for validation, pictures and checkpoints does not. For a
    :class:`vae_lightning.models.Stack`, each model's speed is logged as ``0/speed/images_per_second`` and so on, and is
    computed with the model's share of the time. A batch's images divided by it are the seconds of an optimiser step.
    """

    works_in_blocks = True

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._images, self._began = 0, time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if isinstance(pl_module, Stack):
            self._images += math.prod(batch[0][0].shape[:-3]) * len(pl_module.vaes)
        elif isinstance(pl_module, VAE):
            rows = pl_module.rows(math.prod(images_of(batch, pl_module.image_shape).shape[:-3]))
            self._images += (rows.stop - rows.start) * trainer.world_size
        self._seconds = time.perf_counter() - self._began

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        prefixes = [f"{pl_module.places[k]}/" for k in pl_module.healthy] if isinstance(pl_module, Stack) else [""]
        speed = self._images / self._seconds
        pl_module.log_dict({f"{prefix}speed/images_per_second": speed for prefix in prefixes}, sync_dist=False)
