"""Models that see the label: what encoder and decoder depend on, and which labels are refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import SMALL, TINY, Command, Compose, TinyImages, metrics_of
from torch import Tensor

from vae_lightning import VAE, FilesDataModule, InputError
from vae_lightning.data import EMNISTDataModule, ImageDataModule
from vae_lightning.evaluation.pictures import pictures
from vae_lightning.models.labelled import images_in, one_hot_in, with_labels
from vae_lightning.runs.training import train


@pytest.fixture
def vae() -> VAE:
    return VAE(latent_dim=3, widths=[16], classes=4, seed=1)


def test_images_carry_their_labels(images: Tensor) -> None:
    labels = torch.arange(100) % 7
    carried = with_labels(images, labels)
    assert torch.equal(images_in(carried), images)
    assert torch.equal(one_hot_in(carried, 7).argmax(-1), labels)
    assert torch.equal(one_hot_in(with_labels(images.bfloat16(), labels + 249), 256).argmax(-1), labels + 249)


def test_encoder_and_decoder_depend_on_the_label(vae: VAE, images: Tensor) -> None:
    first, second = (vae.examples((images, torch.full((100,), label))) for label in (0, 1))
    assert not torch.equal(vae.encode(first).mu, vae.encode(second).mu)
    z = torch.zeros(100, 3)
    assert not torch.equal(vae.nll(z, first), vae.nll(z, second))
    noise = torch.randn(5, 3)
    drawn = [vae.sample(5, noise, torch.full((5,), label)) for label in (0, 1)]
    assert not torch.equal(*drawn)
    # Without labels, all classes in turn.
    assert torch.equal(vae.sample(5, noise)[[0, 4]], drawn[0][[0, 4]])


def test_a_row_of_samples_for_each_class(vae: VAE, images: Tensor) -> None:
    examples = vae.examples((images[:6], torch.arange(6) % 4))
    drawn = {picture.name: picture for picture in pictures(vae, examples, samples=12)}
    assert drawn["samples"].columns == 3
    assert len(drawn["samples"].images) == 12
    assert torch.equal(drawn["reconstructions"].images[:6], images[:6])


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ((torch.rand(2, 1, 28, 28),), "classes=4: must be null, because the data have no labels"),
        ((torch.rand(2, 1, 28, 28), torch.tensor([0, 4])), "classes=4: must be above all labels, which are 0 to 4"),
        ((torch.rand(2, 1, 28, 28), torch.tensor([-1, 3])), "classes=4: must be above all labels, which are -1 to 3"),
    ],
)
def test_other_labels_are_refused(vae: VAE, batch: tuple[Tensor, ...], message: str) -> None:
    with pytest.raises(InputError, match=message):
        vae.examples(batch)


def test_the_number_of_classes_comes_from_the_data(composed: Compose, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="classes=auto: must be a number or None"):
        VAE(classes="auto")
    monkeypatch.setattr(TinyImages, "classes", None, raising=False)
    with pytest.raises(InputError, match=r"model\.classes=auto: must be null, because the data have no labels"):
        train(composed(*TINY, "model=conditional"))
    monkeypatch.undo()
    monkeypatch.delattr(ImageDataModule, "classes")
    with pytest.raises(InputError, match=r"model\.classes=auto: must be a number, because the data do not say"):
        train(composed(*TINY, "model=conditional"))


def test_data_modules_know_their_classes(tmp_path: Path) -> None:
    assert [EMNISTDataModule(split=split).classes for split in ("balanced", "letters", "digits")] == [47, 27, 10]

    np.savez(tmp_path / "own.npz", images=np.zeros((9, 4, 4), np.uint8), labels=np.arange(9) % 5)
    assert FilesDataModule(str(tmp_path / "own.npz"), test_size=1, val_size=1).classes == 5


def test_a_conditional_run_is_evaluated_and_exported(command: Command, tmp_path: Path) -> None:
    done = command("train", *SMALL, "model=conditional", "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    done = command("evaluate", "run=run", "samples=5", "images=20", "trainer=cpu")
    assert done.returncode == 0, done.stderr
    done = command("export", "run=run")
    assert done.returncode == 0, done.stderr
    assert "and labels (N,) to mu (N, 20), logvar (N, 20)" in done.stdout
    assert metrics_of(tmp_path / "run")["epochs"] == 2
