"""Images in memory: the LightningDataModule that splits them and hands out batches."""

import copy
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
    "DynamicImages",
    "ImageDataModule",
    "ImageOptions",
    "LabelledImages",
    "binarised",
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
        # Many times as fast as images[index].
        images = self.data.images.index_select(0, index.flatten()).unflatten(0, index.shape)
        return torch.div(images, 255), self.data.labels[index]


def binarised(data: LabelledImages, generator: torch.Generator) -> LabelledImages:
    """Each pixel drawn anew: white, 255, with its grey value / 255 as the probability, else black."""
    bounds = torch.empty(data.images.shape, dtype=torch.uint8).random_(0, 255, generator=generator)  # 0 to 254
    return data._replace(images=(data.images > bounds.to(data.images.device)).to(torch.uint8) * 255)


class DynamicImages(ByteImages):
    """Images binarised anew in each epoch; before the first, once and for all.

    Arguments:
        data: grey images.
        split_seed: of the images before the first epoch.
        seed: of those of each epoch.

    References:
        On the quantitative analysis of deep belief networks, Salakhutdinov and Murray, 2008
        (https://doi.org/10.1145/1390156.1390266), of grey values as probabilities.
    """

    def __init__(self, data: LabelledImages, split_seed: int, seed: int) -> None:
        super().__init__(binarised(data, generator(split_seed, "binarisation", 0)))
        self.grey, self.seed = data, seed

    def set_epoch(self, epoch: int) -> None:
        """Draw an epoch's pixels; the same for the same seed and epoch, whatever the order of the images."""
        self.data = binarised(self.grey, generator(self.seed, "pixels", epoch))


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
        images: told of each epoch before it begins.
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
    binarisation: str
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
        seed: of the order of the training images, and of their pixels if these are drawn.
        binarisation: ``"none"``: grey values as they are. ``"dynamic"``: each pixel is white with its grey value as the
            probability; training images are drawn anew in each epoch, and those of validation, test and probe once, by
            ``split_seed``. ``"threshold"``: white from a grey value of one half on.
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
        binarisation: str = "none",
        device: str = "cpu",
    ) -> None:
        super().__init__()
        given = (batch_size, eval_batch_size, block_size, val_size, split_seed, seed, binarisation, device)
        check(dict(zip(ImageOptions.__annotations__, given, strict=True)), IMAGES)
        self.batch_size, self.eval_batch_size, self.block_size = batch_size, eval_batch_size, block_size
        self.val_size, self.split_seed, self.seed = val_size, split_seed, seed
        self.binarisation, self.device = binarisation, device
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
        parts = [part.to(self.device) for part in (rest, val, test)]
        if self.binarisation == "threshold":
            parts = [part._replace(images=(part.images >= 128).to(torch.uint8) * 255) for part in parts]
        elif self.binarisation == "dynamic":
            parts[1:] = [
                binarised(part, generator(self.split_seed, "binarisation", place))
                for place, part in enumerate(parts[1:], 1)
            ]
        self.train, self.val, self.test = map(ByteImages, parts)
        if self.binarisation == "dynamic":
            self.train = DynamicImages(parts[0], self.split_seed, self.seed)

    def train_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        images, order = self.training(self.seed)
        return DataLoader(images, batch_size=None, sampler=order)

    def training(self, seed: int) -> tuple[ByteImages, BlockSampler]:
        """The training images and their order, for a loop of one's own to tell the order of each epoch.

        Arguments:
            seed: of the order, and of the pixels if these are drawn.
        """
        assert self.train is not None, "setup() comes first"
        images, told = self.train, None
        if isinstance(images, DynamicImages):
            # Of its own, so that what others see stays as it is.
            images = told = copy.copy(images)
            images.seed = seed
        return images, BlockSampler(len(images), self.batch_size, self.block_size, seed, told)

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
