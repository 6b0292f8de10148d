"""The order of the training images."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import SequentialSampler
from torch.utils.data.distributed import DistributedSampler

from vae_lightning.data.binarisation import DynamicImages
from vae_lightning.streams import generator

__all__ = ["BlockSampler", "StoredOrder"]


class BlockSampler(DistributedSampler[Tensor]):
    """A sampler of all indices of an epoch, in batches or blocks of batches; the order depends on (seed, epoch) alone.

    If there are several processes, each gets all indices (see :class:`ImageDataModule`). The class is a
    DistributedSampler because Lightning replaces any other sampler by one that would split the batches.

    Arguments:
        size: number of images.
        batch_size: images per batch; a last, shorter batch is kept.
        block_size: if 1, each item is a batch, ``(batch_size,)``. Otherwise each is a block of up to ``block_size``
            whole batches, ``(block_size, batch_size)``, and a last, shorter batch comes by itself.
        seed: seed of the order; None for the stored order.
        images: images whose pixels are drawn anew before each epoch.
    """

    def __init__(
        self,
        size: int,
        batch_size: int,
        block_size: int = 1,
        seed: int | None = None,
        images: DynamicImages | None = None,
    ) -> None:
        super().__init__(range(size), num_replicas=1, rank=0)  # type: ignore[arg-type]
        self.size, self.batch_size, self.block_size, self.order_seed = size, batch_size, block_size, seed
        self.images = images

    def set_epoch(self, epoch: int) -> None:
        super().set_epoch(epoch)
        if self.images is not None:
            self.images.set_epoch(epoch)

    @property
    def batches(self) -> int:
        """The number of batches in an epoch, whether in blocks or not."""
        return -(-self.size // self.batch_size)

    def __len__(self) -> int:
        batches, rest = divmod(self.size, self.batch_size)
        return -(-batches // self.block_size) + (rest > 0)

    def __iter__(self) -> Iterator[Tensor]:
        if self.order_seed is None:
            order = torch.arange(self.size)
        else:
            order = torch.randperm(self.size, generator=generator(self.order_seed, "order", self.epoch))
        whole = self.size - self.size % self.batch_size
        if whole:
            batches = order[:whole].view(-1, self.batch_size)
            yield from batches if self.block_size == 1 else batches.split(self.block_size)
        if whole < self.size:
            yield order[whole:]


class StoredOrder(BlockSampler, SequentialSampler):  # type: ignore[misc]
    """The images in stored order, as batches of ``batch_size``.

    The class is a SequentialSampler because with ``overfit_batches`` Lightning replaces any other sampler by one that
    yields single images.
    """
