"""A stack gives each model what it would have had alone."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from conftest import FewDigits
from lightning.pytorch import Trainer
from torch import Tensor

from vae_lightning import VAE, InputError
from vae_lightning.stack import Stack, StackData

ADAM = {"_target_": "torch.optim.Adam", "fused": True}


def vae(latent_dim: int = 5, seed: int = 0, **optimizer: Any) -> VAE:
    return VAE(latent_dim, widths=(32,), seed=seed, optimizer={**ADAM, "lr": 1e-3, **optimizer})


def different() -> list[VAE]:
    return [
        vae(2, seed=1),
        vae(5, seed=2, lr=3e-3),
        vae(20, seed=3, betas=[0.8, 0.99]),
        vae(20, seed=3, _target_="torch.optim.AdamW", weight_decay=0.1),
    ]


@pytest.fixture
def data(few_digits: Callable[..., FewDigits]) -> Callable[..., FewDigits]:
    return lambda **options: few_digits(1000, **{"batch_size": 64, "val_size": 200, "block_size": 4, **options})


def fitted(module: Any, data: Any, epochs: int = 1, precision: Any = "64-true") -> dict[str, float]:
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        precision=precision,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, datamodule=data)
    found = dict(trainer.callback_metrics)
    trainer.test(module, datamodule=data, verbose=False)
    return {name: float(value) for name, value in (found | trainer.callback_metrics).items()}


@pytest.mark.parametrize(("precision", "tolerance"), [("64-true", 1e-10), ("32-true", 1e-5)])
@pytest.mark.parametrize("same_order", [True, False])
def test_each_model_of_a_stack_is_trained_as_if_alone(
    precision: str, tolerance: float, same_order: bool, data: Callable[..., FewDigits]
) -> None:
    models = different()
    seeds = [0 if same_order else model.seed for model in models]
    stack = Stack(models)
    together = fitted(stack, StackData(data(), seeds), precision=precision)
    unstacked = stack.unstack()
    for k, (seed, model) in enumerate(zip(seeds, different(), strict=True)):
        alone = fitted(model, data(seed=seed), precision=precision)
        for name in ("train/loss", "train/recon", "train/kl", "val/loss", "test/loss", "test/kl"):
            assert together[f"{k}/{name}"] == pytest.approx(alone[name], rel=tolerance), (k, name)
        for weight, expected in zip(unstacked[k].parameters(), model.parameters(), strict=True):
            torch.testing.assert_close(weight.double(), expected.double(), rtol=0, atol=tolerance * 10)


def test_padding_stays_exactly_zero(data: Callable[..., FewDigits]) -> None:
    stack = Stack([vae(2, weight_decay=0.1), vae(20)])
    fitted(stack, StackData(data(), [0, 0]), epochs=3, precision="32-true")
    weights = dict(stack.model.named_parameters())
    first_of_decoder = weights["decoder.0.weight"][0]
    assert first_of_decoder[:, 2:].abs().max() == 0
    assert first_of_decoder[:, :2].abs().min() > 0
    heads = weights["encoder.3.weight"][0]
    assert heads[2:20].abs().max() == 0
    assert heads[22:].abs().max() == 0
    assert heads[:2].abs().sum() > 0
    assert heads[20:22].abs().sum() > 0


def test_a_model_that_diverges_does_not_change_the_others_by_a_bit(data: Callable[..., FewDigits]) -> None:
    healthy, sick = Stack([vae(5), vae(5, seed=1)]), Stack([vae(5), vae(5, seed=1, lr=1e30), vae(5, seed=1)])
    expected = fitted(healthy, StackData(data(), [0, 0]), epochs=2, precision="32-true")
    found = fitted(sick, StackData(data(), [0, 0, 0]), epochs=2, precision="32-true")
    assert list(sick.failures) == [1]
    assert "in epoch 1" in sick.failures[1]
    assert found["0/test/loss"] == expected["0/test/loss"]
    assert found["2/test/loss"] == expected["1/test/loss"]
    for name, weight in healthy.model.named_parameters():
        assert torch.equal(sick.model.get_parameter(name)[0], weight[0])
        assert torch.equal(sick.model.get_parameter(name)[2], weight[1])


def test_stacking_and_unstacking_changes_nothing(images: Tensor) -> None:
    models = different()
    before = [model.reconstruct(images) for model in models]
    for model, expected in zip(Stack(models).unstack(), before, strict=True):
        assert torch.equal(model.reconstruct(images), expected)


def test_the_elbo_of_a_stack_is_that_of_its_models(images: Tensor) -> None:
    models = different()
    noise = torch.zeros(4, len(images), 20)
    for own, model in zip(noise, models, strict=True):
        own[:, : model.latent_dim] = torch.randn(len(images), model.latent_dim)
    for given in (images[None], images.expand(4, *images.shape)):
        together = Stack(models).elbo(given, noise)
        for k, model in enumerate(models):
            alone = model.elbo(images, noise[k, :, : model.latent_dim])
            torch.testing.assert_close(together.loss[k], alone.loss)
            torch.testing.assert_close(together.kl[k], alone.kl)


def test_models_of_another_architecture_are_refused() -> None:
    with pytest.raises(InputError, match=r"widths=\[64\]: must be \[32\] for all models of a stack"):
        Stack([vae(), VAE(widths=(64,))])
    with pytest.raises(InputError, match="vaes: must be one or more"):
        Stack([])
