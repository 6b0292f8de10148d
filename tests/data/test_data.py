from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torchvision.transforms import ToTensor

from vae_lightning import InputError
from vae_lightning.data.binarisation import binarised
from vae_lightning.data.image_data_module import ImageDataModule
from vae_lightning.data.images import ImageSet, LabelledImages
from vae_lightning.data.order import BlockSampler
from vae_lightning.data.split import stratified_order
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
    drawn, labels = ImageSet(LabelledImages(every_grey, torch.tensor([3])))[torch.tensor([0])]
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

    said = r"^Cropped reads images of shape \(1, 28, 20\), but its image_shape is \(1, 28, 28\)$"
    with pytest.raises(InputError, match=said):
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


def test_a_device_that_is_not_there_is_refused(few_digits: FewDigits) -> None:
    with pytest.raises(InputError, match=r"^data\.device=nonsense: must be a device of this machine: "):
        few_digits(40, val_size=4, device="nonsense").setup()


def test_val_size_may_be_nothing_but_must_leave_something(few_digits: FewDigits) -> None:
    data = few_digits(200, val_size=0)
    data.setup()
    assert data.train is not None
    assert len(data.train) == 200
    assert data.val_dataloader() == []
    with pytest.raises(InputError, match=r"val_size=200: .* from 0 to 199"):
        few_digits(200, val_size=200).setup()


def pixels_in_order(data: ImageDataModule, epoch: int | None) -> Tensor:
    """All training images of an epoch, put back in their own order."""
    images, order = data.training(data.seed)
    if epoch is not None:
        order.set_epoch(epoch)
    seen = [(images[index.flatten()][0], index.flatten()) for index in order]
    return torch.cat([part for part, _ in seen])[torch.cat([index for _, index in seen]).argsort()]


def test_a_pixels_probability_of_being_white_is_its_grey_value() -> None:
    grey = torch.tensor([0, 1, 64, 128, 254, 255], dtype=torch.uint8)
    data = LabelledImages(grey.expand(200_000, 6), torch.zeros(200_000))
    found = binarised(data, generator(0, "test")).images
    assert found.unique().tolist() == [0, 255]
    rates, expected = (found / 255).mean(0), grey / 255
    assert ((rates - expected).abs() <= 5 * (expected * (1 - expected) / 200_000).sqrt()).all()  # 0 and 1 exactly


def test_dynamic_pixels_are_a_function_of_seed_and_epoch_alone(few_digits: FewDigits) -> None:
    def digits(**options: int) -> ImageDataModule:
        data = few_digits(400, val_size=100, binarisation="dynamic", **options)
        data.setup()
        return data

    data, again = digits(batch_size=64), digits(batch_size=30, block_size=4)
    epochs = [pixels_in_order(data, epoch) for epoch in (None, 0, 1)]
    for epoch, pixels in zip((None, 0, 1), epochs, strict=True):
        assert set(pixels.unique().tolist()) == {0.0, 1.0}
        assert pixels_in_order(again, epoch).equal(pixels)
    assert not epochs[1].equal(epochs[2])
    other = digits(seed=1)
    assert not pixels_in_order(other, 0).equal(epochs[1])
    # What is drawn once does not depend on the seed, nor on what training has drawn.
    assert pixels_in_order(other, None).equal(epochs[0])
    for part, other_part in zip((data.val, data.test), (other.val, other.test), strict=True):
        assert part.data.images.equal(other_part.data.images)
        assert set(part.data.images.unique().tolist()) == {0, 255}


def test_a_threshold_is_the_same_each_time(few_digits: FewDigits) -> None:
    grey, black_and_white = few_digits(400, val_size=0), few_digits(400, val_size=0, binarisation="threshold")
    for data in (grey, black_and_white):
        data.setup()
    found = pixels_in_order(black_and_white, 3)
    assert found.equal((pixels_in_order(grey, 0) >= 0.5).float())
