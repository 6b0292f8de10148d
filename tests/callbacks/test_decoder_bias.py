"""The decoder's first bias: the log-odds of the mean training image, however many models, processes and fits."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Command, Compose, FewDigits
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from vae_lightning import VAE, InputError
from vae_lightning.callbacks import DecoderBias
from vae_lightning.config.resolving import resolved
from vae_lightning.data.stack_data import StackData
from vae_lightning.models import Stack
from vae_lightning.runs.checking import check_config

Few = Callable[..., FewDigits]


class Biases(Callback):
    """Keeps the decoder's last bias at the beginning of each epoch."""

    works_in_blocks = True

    def __init__(self) -> None:
        self.found: list[Tensor] = []

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        model: Any = pl_module.model if isinstance(pl_module, Stack) else pl_module
        self.found.append([*model.decoder.parameters()][-1].detach().clone())


class Plain(LightningDataModule):
    """Batches as anyone's data module has them."""

    def __init__(self, images: Tensor) -> None:
        super().__init__()
        self.images = images

    def train_dataloader(self) -> DataLoader[tuple[Tensor, ...]]:
        return DataLoader(TensorDataset(self.images), batch_size=30)


class Frozen(nn.Module):
    """A decoder whose last layer has no bias."""

    def __init__(self, image_shape: tuple[int, ...], latent_dim: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(latent_dim, 784, bias=False), nn.Unflatten(-1, image_shape))

    def forward(self, z: Tensor) -> Tensor:
        logits: Tensor = self.layers(z)
        return logits


def fitted(model: LightningModule, data: LightningDataModule, epochs: int = 1, **options: Any) -> list[Tensor]:
    biases = Biases()
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[DecoderBias(), biases],
    )
    trainer.fit(model, datamodule=data, **options)
    return biases.found


def test_training_begins_with_the_log_odds_of_the_mean_training_image(few_digits: Few) -> None:
    data = few_digits(100, val_size=20, batch_size=20)
    first, second = fitted(VAE(widths=[8]), data, epochs=2)
    assert data.train is not None
    mean = np.clip(data.train.data.images.double().mean(0).numpy().ravel() / 255, 0.001, 0.999)
    assert np.allclose(first.numpy(), np.log(mean / (1 - mean)), rtol=1e-5)
    assert first.min() == pytest.approx(np.log(0.001 / 0.999))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("binarisation", ["none", "dynamic", "threshold"])
def test_the_models_of_a_stack_begin_as_each_alone(binarisation: str, few_digits: Few) -> None:
    data = few_digits(100, val_size=20, batch_size=20, binarisation=binarisation)
    (alone,) = fitted(VAE(widths=[]), data)
    (stacked,) = fitted(Stack([VAE(widths=[], seed=seed) for seed in (1, 2)]), StackData(data, [1, 2]))
    assert all(torch.equal(row, alone) for row in stacked)


def test_a_data_module_of_any_kind_has_a_mean(few_digits: Few) -> None:
    data = few_digits(100, val_size=0, batch_size=20)
    data.setup()
    assert data.train is not None
    images = data.train[torch.arange(100)][0]
    (found,), (expected,) = fitted(VAE(widths=[8]), Plain(images)), fitted(VAE(widths=[8]), data)
    assert torch.allclose(found, expected, atol=1e-6)


def test_a_second_fit_keeps_the_weights(few_digits: Few, tmp_path: Path) -> None:
    vae, data = VAE(widths=[8]), few_digits(100, val_size=0, batch_size=20)
    trainer = Trainer(
        accelerator="cpu", max_epochs=1, logger=False, default_root_dir=tmp_path, callbacks=[DecoderBias()]
    )
    trainer.fit(vae, datamodule=data)
    trainer.save_checkpoint(tmp_path / "one.ckpt")
    trained = [*vae.decoder.parameters()][-1].detach().clone()
    (again,) = fitted(VAE(widths=[8]), data, epochs=2, ckpt_path=tmp_path / "one.ckpt", weights_only=True)
    assert torch.equal(again, trained)


@pytest.mark.slow
def test_one_process_and_two_and_a_stack_begin_alike(command: Command, tmp_path: Path) -> None:
    # With this learning rate, the weights stay as they begin, apart from those that are 0.
    options = ["experiment=disarm", "data=mnist_5k", "data.val_size=3000", "data.binarisation=dynamic"]
    options += ["trainer=cpu", "trainer.max_epochs=1", "optimizer.lr=1e-30", "model.prior_optimizer.lr=1e-30"]
    runs = {
        "alone": ["seed=2", "hydra.run.dir=alone"],
        "two": ["seed=2", "trainer=ddp_cpu", "hydra.run.dir=two"],
        "stack/seed=2": ["-m", "estimator=disarm", "seed=1,2", "hydra.sweep.dir=stack"],
    }
    biases = []
    for run, more in runs.items():
        done = command("train", *options, *more)
        assert done.returncode == 0, done.stderr
        weights = torch.load(tmp_path / run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        biases.append(weights["decoder.0.bias"])
    assert biases[0].std() > 1
    assert all(torch.allclose(bias, biases[0], rtol=0, atol=1e-20) for bias in biases)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"decoder": {"_target_": f"{__name__}.Frozen"}}, "decoder: must be null, or end in a linear layer"),
        ({"likelihood": {"_target_": "vae_lightning.likelihoods.ContinuousBernoulli"}}, "likelihood=ContinuousB.*sigm"),
    ],
)
def test_a_model_without_such_a_bias_is_refused(arguments: dict[str, Any], said: str, few_digits: Few) -> None:
    with pytest.raises(InputError, match=said):
        fitted(VAE(**arguments), few_digits(100, val_size=20))


def test_a_trainer_without_a_data_module_is_refused() -> None:
    with pytest.raises(InputError, match="DecoderBias needs a datamodule"):
        Trainer(accelerator="cpu", callbacks=[DecoderBias()], logger=False, enable_checkpointing=False).fit(
            VAE(), DataLoader(TensorDataset(torch.rand(8, 1, 28, 28)), 4)
        )


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("model=conv", "callbacks.decoder_bias: must be null with model.decoder._target_=vae_lightning"),
        ("likelihood=continuous_bernoulli", "callbacks.decoder_bias: must be null with likelihood=vae_lightning"),
    ],
)
def test_a_configuration_without_such_a_bias_is_refused(override: str, said: str, composed: Compose) -> None:
    with pytest.raises(InputError, match=f"^{said}"):
        check_config(resolved(composed("experiment=disarm", "data=mnist_5k", "data.val_size=0", override)))
