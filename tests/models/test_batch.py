"""Batches in the forms in which data sets give them, and images that a likelihood does not allow."""

from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from vae_lightning import VAE, InputError
from vae_lightning.models.batch import images_of, labels_of

SHAPE = (1, 4, 5)
IMAGES = torch.rand(3, *SHAPE)
LABELS = torch.arange(3)


@pytest.mark.parametrize(
    "batch",
    [
        IMAGES,
        IMAGES[:, 0],
        (IMAGES,),
        [IMAGES, LABELS],
        (IMAGES[:, 0], LABELS, "more"),
        {"image": IMAGES, "label": LABELS},
        {"images": IMAGES[:, 0]},
        {"y": LABELS, "x": IMAGES},
    ],
)
def test_images_are_found_in_every_form_of_a_batch(batch: Any) -> None:
    assert torch.equal(images_of(batch, SHAPE), IMAGES)
    has_labels = len(batch) > 1 and not isinstance(batch, Tensor)
    labels = labels_of(batch)
    assert (labels is not None) == has_labels
    assert labels is None or torch.equal(labels, LABELS)


@pytest.mark.parametrize("shape", [(2, 3, 1, 4, 5), (1, 1, 4, 5), (0, 1, 4, 5)])
def test_leading_dimensions_stay(shape: tuple[int, ...]) -> None:
    images = torch.rand(shape)
    assert images_of((images, None), SHAPE) is images
    assert images_of(torch.rand(3, 2, 4, 4), (2, 4, 4)).shape == (3, 2, 4, 4)


def test_a_single_image_without_a_channel_gets_one() -> None:
    assert images_of(torch.rand(1, 4, 5), SHAPE).shape == (1, 1, 4, 5)


@pytest.mark.parametrize(
    ("batch", "said"),
    [
        (None, r"^batch=NoneType: must be a tensor of images"),
        ([], r"^batch=list: must be"),
        ({"pixels": IMAGES}, r"^batch=a dict with pixels: must be .* under image, images, x$"),
        ("images", r"^batch=str: must be"),
        ((LABELS, IMAGES), r"images of torch\.int64; must be floating-point"),
        ((IMAGES * 255).byte(), r"images of torch\.uint8; must be floating-point"),
        (IMAGES.flatten(1), r"^batch: holds images of shape \(3, 20\); must be \(B, 1, 4, 5\)"),
        (IMAGES.movedim(1, -1), r"shape \(3, 4, 5, 1\); must be"),
        (IMAGES[0, 0], r"shape \(4, 5\); must be"),
    ],
)
def test_anything_else_is_refused_in_one_line(batch: Any, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        images_of(batch, SHAPE)
    assert "\n" not in str(caught.value)


def fit(images: Any, likelihood: str) -> None:
    vae = VAE(
        latent_dim=2, widths=[3], image_shape=SHAPE, likelihood={"_target_": f"vae_lightning.likelihoods.{likelihood}"}
    )
    quiet: dict[str, Any] = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "accelerator": "cpu",
    }
    Trainer(max_epochs=1, enable_model_summary=False, **quiet).fit(vae, DataLoader(images, batch_size=3))


def test_a_loader_of_images_alone_trains() -> None:
    fit(IMAGES[:, 0], "Bernoulli")


@pytest.mark.parametrize("value", [1.5, -0.1, torch.nan, torch.inf])
@pytest.mark.parametrize("likelihood", ["Bernoulli", "ContinuousBernoulli", "Gaussian"])
def test_values_outside_the_support_are_refused_at_the_first_batch(likelihood: str, value: float) -> None:
    images = IMAGES.clone()
    images[1, 0, 2, 2] = value
    if likelihood == "Gaussian" and abs(value) < 2:
        fit(images, likelihood)
        return
    with pytest.raises(InputError, match=rf"^images with values from .* for likelihood={likelihood}$"):
        fit(images, likelihood)
