"""A run is complete without a probe where none can be fitted."""

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import TINY, Compose, evaluated
from lightning.pytorch import LightningDataModule
from torch.utils.data import DataLoader

from vae_lightning.callbacks import linear_probe
from vae_lightning.data.image_data_module import ImageDataModule
from vae_lightning.data.images import LabelledImages
from vae_lightning.runs.training import train
from vae_lightning.streams import generator


class Unlabelled(LightningDataModule):
    """Batches of images alone, without channels and without validation."""

    def train_dataloader(self) -> Any:
        images: Any = torch.rand(20, 28, 28, generator=generator(0, "test"))
        return DataLoader(images, batch_size=10)

    test_dataloader = train_dataloader


class Labelled(Unlabelled):
    """Batches that are dicts."""

    def train_dataloader(self) -> Any:
        images = torch.rand(20, 28, 28, generator=generator(0, "test"))
        pairs: Any = [{"image": image, "label": k % 2} for k, image in enumerate(images)]
        return DataLoader(pairs, batch_size=10)

    test_dataloader = train_dataloader


class OneClass(ImageDataModule):
    """Images with one label in training, and another at the test."""

    train_labels: tuple[int, ...] = (7,)
    test_labels: tuple[int, ...] = (7, 8)

    def read(self) -> tuple[LabelledImages, LabelledImages]:
        images = torch.randint(256, (40, 1, 28, 28), generator=generator(0, "test")).byte()
        train, test = (torch.tensor(labels).repeat(40)[:40] for labels in (self.train_labels, self.test_labels))
        return LabelledImages(images, train), LabelledImages(images, test)


class NewClass(OneClass):
    """Images with a label at the test that no training image has."""

    train_labels, test_labels = (3, 5), (3, 5, 7, 9)


OWN = [
    "data=mnist_5k",
    "data.val_size=10",
    "trainer=cpu",
    "trainer.max_epochs=1",
    "model.widths=[8]",
    "model.image_shape=[1,28,28]",
    "callbacks.figures.samples=1",
]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("Unlabelled", "the probe is left out: the data have no labels"),
        ("Labelled", None),
        ("OneClass", "the probe is left out: the probe needs training images with at least two different labels"),
        ("NewClass", "the probe cannot predict the test labels 7, 9, which no training image has"),
    ],
)
def test_a_run_is_complete_whatever_the_labels(
    data: str, said: str | None, composed: Compose, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    cfg = composed(*OWN)
    cfg.data = {"_target_": f"{__name__}.{data}"} | ({"val_size": 10} if data.endswith("Class") else {})
    metrics = train(cfg)
    assert metrics["test/loss"] > 0
    assert ("probe/test_acc" in metrics) == (data in ("Labelled", "NewClass"))
    if data == "NewClass":
        assert metrics["probe/test_acc"] <= 0.5
    if said is None:
        assert "the probe" not in caplog.text
    else:
        assert said in caplog.text
    without = "callbacks.best_checkpoint is left out, because it monitors val/loss and"
    assert (f"{without} {data} has no val_dataloader" in caplog.text) == (data in ("Unlabelled", "Labelled"))
    assert evaluated(tmp_path / "run", "probe_C=[1]")["test/loss"] == metrics["test/loss"]


def test_a_fit_that_fails_leaves_the_probe_out(
    composed: Compose, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("the matrix\nis singular")

    monkeypatch.setattr(linear_probe, "probe_each", fail)
    metrics = train(composed(*TINY, "+callbacks.mine._target_=vae_lightning.callbacks.LinearProbe"))
    assert "the probe is left out: the matrix is singular" in caplog.text
    assert not [name for name in metrics if name.startswith("probe")]
