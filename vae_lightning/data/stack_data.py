"""The data module for a stack."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from vae_lightning.data.image_data_module import ImageDataModule
from vae_lightning.data.images import ImageSet
from vae_lightning.data.order import BlockSampler

__all__ = ["StackData"]


class StackData(LightningDataModule):
    """The images of a data module for a :class:`Stack`, for each model in the order of its seed.

    A training batch is ``(images, labels)``, both lists: of one tensor if all seeds are equal, otherwise of one per
    seed, where equal seeds share their order. Validation and test batches are those of the data module.

    Arguments:
        data: the data module.
        seeds: seed of the order for each model of the stack.
    """

    def __init__(self, data: ImageDataModule, seeds: Sequence[int]) -> None:
        super().__init__()
        self.data, self.seeds = data, list(seeds) if len(set(seeds)) > 1 else [seeds[0]]

    def prepare_data(self) -> None:
        self.data.prepare_data()

    def setup(self, stage: str | None = None) -> None:
        self.data.setup(stage)

    def steps_per_batch(self, trainer: Trainer, model: LightningModule) -> int:
        """Return the number of optimiser steps for which a training batch of a Trainer has images."""
        return self.data.blocks.steps(trainer, model, self.data.batch_bytes * len(set(self.seeds)))

    def train_dataloader(self) -> DataLoader[tuple[list[Tensor], list[Tensor]]]:
        orders = list(dict.fromkeys(self.seeds))
        each, samplers = zip(*(self.data.training(seed, self.trainer) for seed in orders), strict=True)
        images = _Each(each, [orders.index(seed) for seed in self.seeds])
        return DataLoader(images, batch_size=None, sampler=_Orders(samplers))

    def keep(self, kept: Sequence[int]) -> None:
        """Draw no more training batches for the other models, from the next epoch of the fit on.

        Arguments:
            kept: indices of the models that stay, ascending.
        """
        if len(self.seeds) == 1:  # all models see the same images
            return
        loader: Any = self.trainer.train_dataloader  # type: ignore[union-attr]
        images: _Each = loader.dataset
        sampler: _Orders = loader.sampler
        places = [images.places[k] for k in kept]
        used = sorted(set(places))
        self.seeds = [self.seeds[k] for k in kept]
        images.orders, images.places = [images.orders[i] for i in used], [used.index(place) for place in places]
        sampler.orders = [sampler.orders[i] for i in used]

    def val_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]] | list[tuple[Tensor, Tensor]]:
        return self.data.val_dataloader()

    def test_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        return self.data.test_dataloader()


class _Each(Dataset[tuple[list[Tensor], list[Tensor]]]):
    """The images of each model: row i of an index selects those of order i, and ``places`` gives each model's order."""

    def __init__(self, orders: Sequence[ImageSet], places: Sequence[int]) -> None:
        self.orders, self.places = list(orders), list(places)

    def __getitem__(self, index: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        drawn = [order[rows] for order, rows in zip(self.orders, index, strict=True)]
        images, labels = zip(*(drawn[place] for place in self.places), strict=True)
        return [*images], [*labels]


class _Orders(Sampler[Tensor]):
    """A sampler that stacks the batches of several orders."""

    def __init__(self, orders: Sequence[BlockSampler]) -> None:
        self.orders, self.batches = list(orders), orders[0].batches

    def set_epoch(self, epoch: int) -> None:
        for order in self.orders:
            order.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.orders[0])

    def __iter__(self) -> Iterator[Tensor]:
        return map(torch.stack, zip(*self.orders, strict=True))
