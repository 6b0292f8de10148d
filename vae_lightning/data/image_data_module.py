"""The LightningDataModule for images in memory."""

import copy
import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import TypedDict

import torch
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from vae_lightning.config.arguments import checked
from vae_lightning.config.errors import InputError
from vae_lightning.data.binarisation import DynamicImages, ThresholdImages, binarised
from vae_lightning.data.blocks import Blocks
from vae_lightning.data.images import ImageSet, LabelledImages
from vae_lightning.data.order import BlockSampler, StoredOrder
from vae_lightning.data.rules import check_leaves_training
from vae_lightning.data.split import positions_apart
from vae_lightning.streams import generator

__all__ = ["BatchOptions", "ImageDataModule", "ImageOptions"]


class BatchOptions(TypedDict, total=False):
    """The arguments of :class:`ImageDataModule` but ``val_size``, for the signatures of its subclasses."""

    batch_size: int
    eval_batch_size: int
    block_size: int | str
    split_seed: int
    seed: int
    binarisation: str
    device: str


class ImageOptions(BatchOptions, total=False):
    """The arguments of :class:`ImageDataModule`, for the signatures of its subclasses."""

    val_size: int


class ImageDataModule(LightningDataModule):
    """Training, validation and test images, kept in memory. A subclass reads them in :meth:`read`.

    Batches are ``(images, labels)``: float images in [0, 1], ``(B, C, H, W)``, and int64 labels, ``(B,)``, or NaN for
    images without labels. The last, shorter batch is kept. The validation images are taken from the training images,
    stratified by label, unless :meth:`read` returns some; the test images are used only for testing.

    On several devices every process gets whole batches, of which a :class:`vae_lightning.VAE` uses its own rows:
    ``batch_size`` is the global batch size, and each image counts exactly once, whatever the number of devices.

    Arguments:
        batch_size: images per optimiser step, over all devices together.
        eval_batch_size: images per batch in validation and test; it does not affect the results.
        block_size: if above 1, training batches come in blocks ``(S, B, C, H, W)`` of up to ``block_size`` batches,
            each batch for one optimiser step (see :class:`vae_lightning.VAE`). Blocks are faster, because the Trainer's
            overhead occurs once per block; the results are the same. ``"auto"``: blocks of 16 to 64, depending on the
            size of a batch, if a Trainer fits a model to these images and nothing looks between steps
            (:mod:`vae_lightning.data.blocks`), otherwise 1.
        val_size: number of training images set apart for validation.
        split_seed: seed of the choice of the validation images.
        seed: seed of the order of the training images, and of their pixels if they are binarised dynamically.
        binarisation: ``"none"``: grey values as they are. ``"dynamic"``: each pixel is white with its grey value as the
            probability; training images are drawn anew in each epoch, and those for validation, test and probe once,
            from ``split_seed``. ``"threshold"``: pixels are white from a grey value of one half upwards.
        device: where the images are kept, ``"cpu"`` or an accelerator such as ``"cuda"``.

    Attributes:
        positions: after :meth:`setup`, the positions of the images of ``train``, ``val`` and ``test`` among those that
            :meth:`read` returns, ascending, ``(N,)``.

    Raises:
        InputError: if an argument breaks its rule (:mod:`vae_lightning.data.rules`); in :meth:`setup`, if ``val_size``
            leaves no images for training, there is no such device, or the shape of the images is not
            :attr:`image_shape`; in ``Trainer.fit``, if ``block_size`` is above 1 and something looks between steps.
    """

    whole_batches = True

    @checked
    def __init__(
        self,
        batch_size: int = 64,
        eval_batch_size: int = 1000,
        block_size: int | str = "auto",
        val_size: int = 5000,
        split_seed: int = 0,
        seed: int = 0,
        binarisation: str = "none",
        device: str = "cpu",
    ) -> None:
        super().__init__()
        self.batch_size, self.eval_batch_size, self.blocks = batch_size, eval_batch_size, Blocks(block_size)
        self.val_size, self.split_seed, self.seed = val_size, split_seed, seed
        self.binarisation, self.device = binarisation, device
        self.train: ImageSet | None = None
        self.positions: dict[str, Tensor] = {}

    @property
    def image_shape(self) -> tuple[int, ...]:
        """``(C, H, W)``, known before the images are read; a subclass whose images differ from MNIST's overrides it."""
        return 1, 28, 28

    @property
    def classes(self) -> int | None:
        """The number of classes: labels are below it; None without labels.

        A subclass whose labels differ from MNIST's overrides it.
        """
        return 10

    def names(self, split: str) -> Sequence[str] | None:
        """Return the names of the images of ``train``, ``val`` or ``test``, after :meth:`setup`; None without names."""
        return None

    @abstractmethod
    def read(self) -> tuple[LabelledImages, LabelledImages] | tuple[LabelledImages, LabelledImages, LabelledImages]:
        """Return the images for training and test, or those for training, validation and test.

        Of two, ``val_size`` validation images are taken from the training images.
        """

    def setup(self, stage: str | None = None) -> None:
        """Read and split the images, once."""
        if self.train is not None:
            return
        rest, *validation, test = self.read()
        for part in (rest, *validation, test):
            shape = tuple(part.images.shape[1:])
            if shape != self.image_shape:
                raise InputError(
                    f"{type(self).__name__} reads images of shape {shape}, but its image_shape is {self.image_shape}"
                )
        of_rest, of_val = torch.arange(len(rest.labels)), torch.arange(sum(len(part.labels) for part in validation))
        if not validation:
            check_leaves_training(self.val_size, len(rest.labels))
            of_val, of_rest = positions_apart(rest, self.val_size, generator(self.split_seed, "split"))
            rest, validation = rest.subset(of_rest), [rest.subset(of_val)]
        self.positions = {"train": of_rest, "val": of_val, "test": torch.arange(len(test.labels))}
        parts = [part.to(self.device) for part in (rest, *validation, test)]
        if self.binarisation == "dynamic":
            parts[1:] = [
                binarised(part, generator(self.split_seed, "binarisation", place))
                for place, part in enumerate(parts[1:], 1)
            ]
        kind = ThresholdImages if self.binarisation == "threshold" else ImageSet
        self.train, self.val, self.test = map(kind, parts)
        if self.binarisation == "dynamic":
            self.train = DynamicImages(parts[0], self.split_seed, self.seed)

    def train_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        images, order = self.training(self.seed, self.trainer)
        return DataLoader(images, batch_size=None, sampler=order)

    def steps_per_batch(self, trainer: Trainer, model: LightningModule) -> int:
        """Return the number of optimiser steps for which a training batch of a Trainer has images.

        Raises:
            InputError: if ``block_size`` is above 1 and something looks between steps.
        """
        return self.blocks.steps(trainer, model, self.batch_bytes)

    @property
    def batch_bytes(self) -> int:
        """The bytes of the images of a training batch, in single precision."""
        return 4 * self.batch_size * math.prod(self.image_shape)

    def training(self, seed: int, trainer: Trainer | None = None) -> tuple[ImageSet, BlockSampler]:
        """Return the training images and the sampler of their order.

        In a custom training loop, call the sampler's ``set_epoch`` before each epoch.

        Arguments:
            seed: seed of the order, and of the pixels if the images are binarised dynamically.
            trainer: the Trainer that takes the batches; None for a custom loop.
        """
        assert self.train is not None, "setup() comes first"
        images, redrawn = self.train, None
        if isinstance(images, DynamicImages):
            # A copy, so that a new epoch does not change the images that others read.
            images = redrawn = copy.copy(images)
            images.seed = seed
        if trainer is not None and trainer.overfit_batches:  # type: ignore[attr-defined]
            return images, StoredOrder(len(images), self.batch_size)
        steps = self.blocks.without_trainer
        if trainer is not None:
            steps = self.steps_per_batch(trainer, trainer.lightning_module)
        return images, BlockSampler(len(images), self.batch_size, steps, seed, redrawn)

    def val_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]] | list[tuple[Tensor, Tensor]]:
        # Lightning skips validation if the list is empty.
        return self.ordered_dataloader(self.val) if len(self.val) else []

    def test_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        return self.ordered_dataloader(self.test)

    predict_dataloader = test_dataloader

    def ordered_dataloader(self, images: ImageSet) -> DataLoader[tuple[Tensor, Tensor]]:
        """Return ``train``, ``val`` or ``test`` in stored order, in batches of ``eval_batch_size`` images."""
        return DataLoader(images, batch_size=None, sampler=StoredOrder(len(images), self.eval_batch_size))
