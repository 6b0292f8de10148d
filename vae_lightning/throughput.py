"""How fast a model trains."""

import math
import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from vae_lightning.stack import Stack
from vae_lightning.vae import VAE

__all__ = ["Throughput"]


class Throughput(Callback):
    """Logs the training images of each epoch by the seconds they took, as ``speed/images_per_second``.

    Images of all processes count; validation, pictures and checkpoints do not. A model of a
    :class:`vae_lightning.Stack` is told of, as ``0/speed/images_per_second`` and so on, by its share of the seconds.
    """

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._images, self._began = 0, time.perf_counter()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if isinstance(pl_module, Stack):
            self._images += math.prod(batch[0][0].shape[:-3]) * len(pl_module.vaes)
        elif isinstance(pl_module, VAE):
            rows = pl_module.rows(math.prod(batch[0].shape[:-3]))
            self._images += (rows.stop - rows.start) * trainer.world_size
        self._seconds = time.perf_counter() - self._began

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        places = [f"{k}/" for k in pl_module.healthy] if isinstance(pl_module, Stack) else [""]
        speed = self._images / self._seconds
        pl_module.log_dict({f"{place}speed/images_per_second": speed for place in places}, sync_dist=False)
