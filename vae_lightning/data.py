"""Images in memory: the LightningDataModule that splits them and hands out batches."""

from abc import abstractmethod
from collections.abc import Iterator
from typing import NamedTuple, TypedDict

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.distributed import DistributedSampler

from vae_lightning.checks import IMAGES, InputError, check
from vae_lightning.streams import generator

__all__ = [
    "BlockSampler",
    "ByteImages",
    "ImageDataModule",
    "ImageOptions",
    "LabelledImages",
    "set_apart",
    "stratified_order",
]


class LabelledImages(NamedTuple):
    """Images as bytes, ``(N, C, H, W)`` of uint8, and their labels, ``(N,)`` of int64."""

    images: Tensor
    labels: Tensor

    def subset(self, indices: Tensor) -> "LabelledImages":
        """The images and labels at some positions."""
        return LabelledImages(self.images[indices], self.labels[indices])

    def to(self, device: torch.device | str) -> "LabelledImages":
        """The same on a device."""
        return LabelledImages(self.images.to(device), self.labels.to(device))


class ByteImages(Dataset[tuple[Tensor, Tensor]]):
    """Images kept as bytes; a tensor of indices gives that many at once, scaled to [0, 1] as they are drawn."""

    def __init__(self, data: LabelledImages) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data.labels)

    def __getitem__(self, index: Tensor) -> tuple[Tensor, Tensor]:
        index = index.to(self.data.labels.device, non_blocking=True)
        return torch.div(self.data.images[index], 255), self.data.labels[index]


class BlockSampler(DistributedSampler[Tensor]):
    """Indices of a whole epoch, in batches or in blocks of batches; the order is a function of (seed, epoch) alone.

    Of several processes each gets all of them (see :class:`ImageDataModule`). It is a DistributedSampler since
    Lightning puts one of its own, which would split the batches, in place of anything else.

    Arguments:
        size: number of images.
        batch_size: images a batch; a last, shorter batch is kept.
        block_size: if 1, each item is a batch, ``(batch_size,)``. Else each is a block of up to that many whole
            batches, ``(block_size, batch_size)``, and a last, shorter batch comes by itself.
        seed: of the order; if None, the images come in their own order.
    """

    def __init__(self, size: int, batch_size: int, block_size: int = 1, seed: int | None = None) -> None:
        super().__init__(range(size), num_replicas=1, rank=0)  # type: ignore[arg-type]
        self.size, self.batch_size, self.block_size, self.order_seed = size, batch_size, block_size, seed

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


class ImageOptions(TypedDict, total=False):
    """The arguments of :class:`ImageDataModule`, for the signatures of its subclasses."""

    batch_size: int
    eval_batch_size: int
    block_size: int
    val_size: int
    split_seed: int
    seed: int
    device: str


class ImageDataModule(LightningDataModule):
    """Training, validation and test images, kept in memory as bytes. A subclass says in :meth:`read` where from.

    Batches are ``(images, labels)``: float images in [0, 1], ``(B, C, H, W)``, and int64 labels, ``(B,)``. The last,
    shorter batch is kept. The validation images are taken from the training images, the labels in equal parts; the test
    images are used for test alone.

    On several devices every process is handed whole batches, of which a :class:`vae_lightning.VAE` takes its own rows:
    so ``batch_size`` is the global one, and each image counts exactly once, whatever the number of devices.

    Arguments:
        batch_size: images an optimiser step, over all devices together.
        eval_batch_size: images a batch in validation and test; it has no influence on their results.
        block_size: if above 1, training batches come in blocks ``(S, B, C, H, W)`` of up to that many, each batch for
            one optimiser step (see :class:`vae_lightning.VAE`): faster, since the Trainer works once a block.
        val_size: number of training images set apart for validation.
        split_seed: chooses them.
        seed: of the order of the training images.
        device: where the images are kept, ``"cpu"`` or an accelerator such as ``"cuda"``.

    Raises:
        InputError: if an argument is not what :mod:`vae_lightning.checks` allows; in :meth:`setup`, if the validation
            images would leave none to train on, or images have another shape than :attr:`image_shape`.
    """

    whole_batches = True

    def __init__(
        self,
        batch_size: int = 64,
        eval_batch_size: int = 1000,
        block_size: int = 1,
        val_size: int = 5000,
        split_seed: int = 0,
        seed: int = 0,
        device: str = "cpu",
    ) -> None:
        super().__init__()
        given = (batch_size, eval_batch_size, block_size, val_size, split_seed, seed, device)
        check(dict(zip(ImageOptions.__annotations__, given, strict=True)), IMAGES)
        self.batch_size, self.eval_batch_size, self.block_size = batch_size, eval_batch_size, block_size
        self.val_size, self.split_seed, self.seed, self.device = val_size, split_seed, seed, device
        self.train: ByteImages | None = None

    @property
    def image_shape(self) -> tuple[int, ...]:
        """``(C, H, W)``, known before the images are there; a subclass with others than MNIST's says so."""
        return 1, 28, 28

    @abstractmethod
    def read(self) -> tuple[LabelledImages, LabelledImages]:
        """The training images, from which validation takes its part, and the test images."""

    def setup(self, stage: str | None = None) -> None:
        """Read and split the images, once."""
        if self.train is not None:
            return
        train, test = self.read()
        for part in (train, test):
            shape = tuple(part.images.shape[1:])
            if shape != self.image_shape:
                raise InputError(
                    f"{type(self).__name__} gives images of {shape}, and its image_shape is {self.image_shape}"
                )
        if self.val_size >= len(train.labels):
            raise InputError(
                f"data.val_size={self.val_size}: must be a whole number from 0 to {len(train.labels) - 1}, "
                f"for the training set has {len(train.labels)} images"
            )
        val, rest = set_apart(train, self.val_size, generator(self.split_seed, "split"))
        self.train, self.val, self.test = (ByteImages(part.to(self.device)) for part in (rest, val, test))

    def train_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        assert self.train is not None, "setup() comes first"
        return DataLoader(
            self.train,
            batch_size=None,
            sampler=BlockSampler(len(self.train), self.batch_size, self.block_size, self.seed),
        )

    def val_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]] | list[tuple[Tensor, Tensor]]:
        # An empty list tells Lightning that there is no validation.
        return self.ordered_dataloader(self.val) if len(self.val) else []

    def test_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        return self.ordered_dataloader(self.test)

    def ordered_dataloader(self, images: ByteImages) -> DataLoader[tuple[Tensor, Tensor]]:
        """Images (``train``, ``val``, ``test``) in their own order, in batches of ``eval_batch_size``."""
        return DataLoader(images, batch_size=None, sampler=BlockSampler(len(images), self.eval_batch_size))


def set_apart(data: LabelledImages, count: int, generator: torch.Generator) -> tuple[LabelledImages, LabelledImages]:
    """So many images, the labels in proportion, and the rest; both in the order in which they came."""
    order = stratified_order(data.labels, generator)
    chosen, rest = (data.subset(part.sort().values) for part in (order[:count], order[count:]))
    return chosen, rest


def stratified_order(labels: Tensor, generator: torch.Generator) -> Tensor:
    """A random order of which any beginning holds each label in proportion to its frequency, to within one image.

    Arguments:
        labels: ``(N,)``, whole numbers.
        generator: decides the order.

    Returns:
        A permutation of the positions, ``(N,)``.
    """
    shuffled = torch.randperm(len(labels), generator=generator)
    place = torch.empty(len(labels), dtype=torch.float64)
    for label in labels.unique():
        members = shuffled[labels[shuffled] == label]
        # Members of a label are spread evenly over (0, 1): the k-th of n at (k + 1/2) / n.
        place[members] = (torch.arange(len(members), dtype=torch.float64) + 0.5) / len(members)
    return shuffled[place[shuffled].argsort(stable=True)]
