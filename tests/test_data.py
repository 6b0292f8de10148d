from collections.abc import Callable

import pytest
import torch
from torchvision.transforms import ToTensor

from vae_lightning import InputError
from vae_lightning.data import BlockSampler, ByteImages, ImageDataModule, LabelledImages, stratified_order
from vae_lightning.streams import generator

FewDigits = Callable[..., ImageDataModule]


def order(sampler: BlockSampler, epoch: int) -> list[int]:
    sampler.set_epoch(epoch)
    return [int(index) for item in sampler for index in item.flatten()]


@pytest.mark.parametrize(("size", "batch", "block"), [(100, 7, 1), (100, 7, 4), (96, 8, 4), (5, 8, 3), (64, 64, 16)])
def test_an_epoch_holds_every_image_once_in_batches_of_the_size_asked_for(size: int, batch: int, block: int) -> None:
    sampler = BlockSampler(size, batch, block, seed=0)
    items = list(sampler)
    assert len(items) == len(sampler)
    assert sorted(order(sampler, 0)) == list(range(size))
    batches = [part for item in items for part in (item if item.dim() == 2 else [item])]
    assert [len(part) for part in batches] == [batch] * (size // batch) + [size % batch] * (size % batch > 0)


def test_order_is_a_function_of_seed_and_epoch_alone() -> None:
    first, again = BlockSampler(200, 64, seed=1), BlockSampler(200, 10, 4, seed=1)
    torch.manual_seed(0)
    in_sequence = [order(first, epoch) for epoch in range(3)]
    torch.manual_seed(1)
    assert order(again, 2) == in_sequence[2]
    assert in_sequence[0] != in_sequence[1]
    assert order(BlockSampler(200, 64, seed=2), 0) != in_sequence[0]
    assert order(BlockSampler(200, 64), 5) == list(range(200))


def test_a_lightning_epoch_has_an_order_of_its_own(few_digits: FewDigits) -> None:
    data = few_digits(200, val_size=0)
    data.setup()
    loader = data.train_dataloader()
    epochs = []
    for epoch in (0, 1, 0):
        assert isinstance(loader.sampler, BlockSampler)
        loader.sampler.set_epoch(epoch)
        epochs.append(torch.cat([labels for _, labels in loader]))
    assert not torch.equal(epochs[0], epochs[1])
    assert torch.equal(epochs[0], epochs[2])


def test_bytes_become_the_numbers_that_torchvision_makes_of_them() -> None:
    every_grey = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    drawn, labels = ByteImages(LabelledImages(every_grey, torch.tensor([3])))[torch.tensor([0])]
    assert torch.equal(drawn[0], ToTensor()(every_grey[0, 0].numpy()))
    assert labels.tolist() == [3]


def test_images_are_kept_as_bytes_and_split_without_overlap(digits: tuple[LabelledImages, LabelledImages]) -> None:
    class Numbered(ImageDataModule):
        image_shape = (1, 1, 1)

        # Each image is its own number, so that what went where can be read off.
        def read(self) -> tuple[LabelledImages, LabelledImages]:
            numbers = torch.arange(200, dtype=torch.uint8).view(-1, 1, 1, 1)
            return LabelledImages(numbers, digits[0].labels[::20]), LabelledImages(numbers[:50], torch.zeros(50).long())

    data = Numbered(val_size=30)
    data.setup()
    assert data.train is not None
    assert data.train.data.images.dtype == torch.uint8
    train, val = data.train.data.images.flatten().tolist(), data.val.data.images.flatten().tolist()
    assert sorted(train + val) == list(range(200))
    assert len(val) == 30
    assert torch.cat([images for images, _ in data.test_dataloader()]).mul(255).round().flatten().tolist() == [
        *range(50)
    ]


def test_images_of_another_shape_than_was_said_are_refused(digits: tuple[LabelledImages, LabelledImages]) -> None:
    class Cropped(ImageDataModule):
        def read(self) -> tuple[LabelledImages, LabelledImages]:
            return digits[0], digits[1]._replace(images=digits[1].images[..., :20])

    with pytest.raises(InputError, match=r"^Cropped gives images of \(1, 28, 20\), .* image_shape is \(1, 28, 28\)$"):
        Cropped(val_size=30).setup()


def test_the_split_follows_split_seed_and_not_seed(few_digits: FewDigits) -> None:
    def val_images(**seeds: int) -> torch.Tensor:
        data = few_digits(200, val_size=50, **seeds)
        data.setup()
        return data.val.data.images

    assert torch.equal(val_images(seed=0), val_images(seed=1))
    assert not torch.equal(val_images(split_seed=0), val_images(split_seed=1))


def test_any_beginning_of_a_stratified_order_holds_the_labels_in_proportion() -> None:
    labels = torch.tensor([0] * 500 + [1] * 300 + [2] * 100 + [3] * 7)
    chosen = stratified_order(labels, generator(0, "split"))
    assert sorted(chosen.tolist()) == list(range(len(labels)))
    for size in (1, 10, 123, 500, 900):
        counts = labels[chosen[:size]].bincount(minlength=4)
        expected = labels.bincount() * size / len(labels)
        assert (counts - expected).abs().max() <= 1.5, size


def test_val_size_may_be_nothing_but_must_leave_something(few_digits: FewDigits) -> None:
    data = few_digits(200, val_size=0)
    data.setup()
    assert data.train is not None
    assert len(data.train) == 200
    assert data.val_dataloader() == []
    with pytest.raises(InputError, match=r"val_size=200: .* from 0 to 199"):
        few_digits(200, val_size=200).setup()
