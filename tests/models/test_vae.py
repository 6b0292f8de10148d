import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor
from torch.distributions import Normal
from torch.utils.data import DataLoader, TensorDataset

from vae_lightning import VAE, InputError
from vae_lightning.data.image_data_module import ImageDataModule
from vae_lightning.streams import NormalStream, generator

FewDigits = Callable[..., ImageDataModule]


def fit(vae: VAE, data: ImageDataModule, epochs: int = 1, **options: Any) -> Trainer:
    quiet: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = Trainer(accelerator="cpu", max_epochs=epochs, enable_model_summary=False, **quiet, **options)
    trainer.fit(vae, datamodule=data)
    return trainer


def zero(layer: torch.nn.Module) -> None:
    for parameter in layer.parameters():
        torch.nn.init.zeros_(parameter)


def noise_for(vae: VAE, count: int) -> Tensor:
    return NormalStream(generator(7, "test"), vae.latent_dim, dtype=next(vae.parameters()).dtype).draw(count)


# The article's point.


def test_gradients_reach_mu_and_logvar_through_z_while_plain_sampling_gives_none() -> None:
    mu, logvar = torch.zeros(4, 3, requires_grad=True), torch.zeros(4, 3, requires_grad=True)
    sampled = Normal(mu, torch.exp(0.5 * logvar)).sample()
    assert not sampled.requires_grad
    z = VAE.reparameterize(mu, logvar, torch.ones(4, 3))
    z.square().sum().backward()
    assert mu.grad is not None
    assert logvar.grad is not None
    assert mu.grad.ne(0).all()
    assert logvar.grad.ne(0).all()


def test_reparameterized_noise_has_the_posteriors_distribution() -> None:
    mu, logvar = torch.tensor([1.5, -2.0]), torch.tensor([0.4, -1.0])
    z = VAE.reparameterize(mu, logvar, torch.randn(200_000, 2, generator=generator(0, "test")))
    torch.testing.assert_close(z.mean(0), mu, rtol=0, atol=0.02)
    torch.testing.assert_close(z.var(0), logvar.exp(), rtol=0.02, atol=0)


def test_gradients_reach_every_parameter(images: Tensor) -> None:
    vae = VAE(latent_dim=5, widths=(30, 20))
    vae.elbo(images, noise_for(vae, len(images))).loss.mean().backward()
    assert {name for name, p in vae.named_parameters() if p.grad is None or not p.grad.any()} == set()


def test_pathwise_gradients_are_those_of_finite_differences() -> None:
    vae = VAE(latent_dim=2, widths=(6,), image_shape=(1, 3, 3)).double()
    pixels = torch.rand(4, 1, 3, 3, generator=generator(0, "test"), dtype=torch.float64)
    noise = noise_for(vae, 4)

    def loss(*weights: Tensor) -> Tensor:
        named = dict(zip(dict(vae.named_parameters()), weights, strict=True))
        elbo: Tensor = torch.func.functional_call(
            _Elbo(vae), {f"vae.{k}": v for k, v in named.items()}, (pixels, noise)
        )
        return elbo

    assert torch.autograd.gradcheck(loss, tuple(vae.parameters()))


class _Elbo(torch.nn.Module):
    """The mean loss as a module's forward, as functional_call wants it."""

    def __init__(self, vae: VAE) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, images: Tensor, noise: Tensor) -> Tensor:
        return self.vae.elbo(images, noise).loss.mean()


# The ELBO.


def test_loss_is_recon_plus_kl_and_does_not_depend_on_the_batch(images: Tensor) -> None:
    vae = VAE()
    noise = noise_for(vae, len(images))
    whole = vae.elbo(images, noise)
    torch.testing.assert_close(whole.loss, whole.recon + whole.kl)
    for size in (1, 7, 64):
        parts = [vae.elbo(x, n) for x, n in zip(images.split(size), noise.split(size), strict=True)]
        torch.testing.assert_close(torch.cat([part.loss for part in parts]), whole.loss)


def test_leading_dimensions_are_batch_dimensions(images: Tensor) -> None:
    vae = VAE()
    noise = noise_for(vae, len(images))
    folded = vae.elbo(images.unflatten(0, (4, 25)), noise.unflatten(0, (4, 25)))
    torch.testing.assert_close(folded.loss.flatten(), vae.elbo(images, noise).loss)


def test_elbo_is_below_the_log_likelihood_of_a_model_without_latents(images: Tensor) -> None:
    # With a decoder that ignores z and a posterior equal to the prior the bound is the likelihood itself; any other
    # posterior can only be worse.
    vae = VAE(latent_dim=3)
    noise = noise_for(vae, len(images))
    zero(vae.decoder.get_submodule("0"))
    loose = vae.elbo(images, noise)
    zero(vae.encoder.get_submodule("3"))
    tight = vae.elbo(images, noise)
    assert tight.kl.eq(0).all()
    assert (loose.loss >= tight.loss).all()


def test_decoding_is_in_logits_and_images_are_in_the_unit_interval(images: Tensor) -> None:
    vae = VAE(latent_dim=4)
    z = torch.zeros(2, 4)
    torch.testing.assert_close(vae.sample(2, z), vae.decode(z).sigmoid())
    torch.testing.assert_close(vae(images), vae.decode(vae.encode(images).mu).sigmoid())
    assert vae.sample(3).shape == (3, 1, 28, 28)
    assert ((vae(images) >= 0) & (vae(images) <= 1)).all()


# Construction and checkpoints.


def test_defaults_are_the_reference_architecture_and_optimiser() -> None:
    vae = VAE()
    shapes = {tuple(p.shape) for p in vae.parameters() if p.dim() == 2}
    assert shapes == {(128, 784), (40, 128), (128, 20), (784, 128)}
    optimizer = vae.configure_optimizers()
    assert type(optimizer) is torch.optim.Adam
    assert optimizer.defaults["lr"] == 1e-3


def test_initial_weights_depend_on_the_seed_alone() -> None:
    torch.manual_seed(1)
    one = VAE(seed=0)
    torch.manual_seed(2)
    again, other = VAE(seed=0), VAE(seed=1)
    assert all(torch.equal(p, q) for p, q in zip(one.parameters(), again.parameters(), strict=True))
    assert not all(torch.equal(p, q) for p, q in zip(one.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"latent_dim": 0}, "latent_dim=0: must be a whole number of at least 1"),
        ({"latent_dim": True}, "latent_dim=True"),
        ({"widths": (0,)}, "widths="),
        ({"widths": (128, -1)}, "widths="),
        ({"image_shape": (28, 28)}, "image_shape="),
        ({"seed": -1}, "seed=-1"),
        ({"optimizer": {"_target_": "torch.optim.Adam", "lr": -1.0}}, r"optimizer\.lr=-1.0: .* above 0"),
        ({"optimizer": {"_target_": "torch.optim.Adam", "lr": float("nan")}}, r"optimizer\.lr=nan"),
        ({"optimizer": {"_target_": "torch.optim.Adm"}}, "full name of a subclass of Optimizer"),
        ({"optimizer": {"_target_": "os.system", "command": "true"}}, "full name of a subclass of Optimizer"),
        ({"optimizer": {"_target_": "torch.optim.Adam", "foo": 1}}, "Adam refuses its arguments"),
    ],
)
def test_bad_arguments_are_refused_by_name(arguments: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        VAE(**arguments)


def test_a_checkpoint_rebuilds_the_model_and_holds_no_code(
    few_digits: FewDigits, tmp_path: Path, images: Tensor
) -> None:
    vae = VAE(latent_dim=3, widths=(16, 8), optimizer={"_target_": "torch.optim.SGD", "lr": 1e-4}, seed=5)
    trainer = fit(vae, few_digits(100, val_size=0))
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    torch.load(tmp_path / "last.ckpt", weights_only=True)
    rebuilt = VAE.load_from_checkpoint(tmp_path / "last.ckpt")
    assert rebuilt.hparams == vae.hparams
    assert torch.equal(rebuilt(images), vae(images))


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "was_run",))

    torch.save({"state_dict": {}, "hyper_parameters": Hostile()}, tmp_path / "hostile.ckpt")
    with pytest.raises(Exception, match=r"[Ww]eights"):
        VAE.load_from_checkpoint(tmp_path / "hostile.ckpt")
    assert not (tmp_path / "was_run").exists()


# Training with a bare Trainer.


def test_training_descends(few_digits: FewDigits) -> None:
    vae = VAE(latent_dim=5)
    data = few_digits(1000, val_size=500, batch_size=50)
    losses = []
    for _ in range(2):
        losses.append(float(fit(vae, data).callback_metrics["train/loss"]))
    trainer = fit(vae, data, epochs=8)
    losses.append(float(trainer.callback_metrics["train/loss"]))
    assert losses[0] > losses[1] > losses[2]
    assert float(trainer.callback_metrics["val/loss"]) < 250  # untrained it is about 543


def test_blocks_are_the_same_steps_as_batches(few_digits: FewDigits) -> None:
    one_by_one, in_blocks = VAE(latent_dim=3), VAE(latent_dim=3)
    options = {"val_size": 0, "batch_size": 30}
    first = fit(one_by_one, few_digits(200, **options, block_size=1), epochs=2)
    second = fit(in_blocks, few_digits(200, **options, block_size=4), epochs=2)
    assert all(torch.equal(p, q) for p, q in zip(one_by_one.parameters(), in_blocks.parameters(), strict=True))
    assert first.global_step == second.global_step == 14
    assert {**first.callback_metrics, "loss": 0} == {**second.callback_metrics, "loss": 0}


def test_epoch_means_weigh_every_image_alike(few_digits: FewDigits) -> None:
    # With a learning rate too small to move a weight, the epoch's mean is that of the initial model; 200 images in
    # batches of 64 leave a short last one.
    vae = VAE(optimizer={"_target_": "torch.optim.SGD", "lr": 1e-30})
    initial = copy.deepcopy(vae)
    data = few_digits(200, val_size=100, batch_size=64, eval_batch_size=64, block_size=2)
    trainer = fit(vae, data)
    batches = [images.reshape(-1, 1, 28, 28) for images, _ in data.train_dataloader()]
    noise = NormalStream(generator(0, "noise", 0), 20)
    with torch.no_grad():
        terms = initial.elbo(torch.cat(batches), noise.draw(100))
    for name, term in terms._asdict().items():
        assert float(trainer.callback_metrics[f"train/{name}"]) == pytest.approx(float(term.double().mean()), rel=1e-6)


def test_the_gradients_norm_and_the_learning_rate_are_those_of_the_last_step(few_digits: FewDigits) -> None:
    schedule = {"_target_": "vae_lightning.schedules.Cosine", "steps": 3}
    for block_size in (1, 2):  # a block of two batches
        data = few_digits(100, val_size=0, batch_size=100 // block_size, block_size=block_size)
        vae = VAE(seed=1, schedule=schedule)
        trained = VAE(seed=1, optimizer={"_target_": "torch.optim.Adam", "lr": 1e-3})
        data.setup()
        ((images, _),) = data.train_dataloader()
        noise = NormalStream(generator(1, "noise", 0), 20).draw(100)
        optimizer = trained.configure_optimizers()
        batches = images.view(block_size, -1, 1, 28, 28)
        for step, (x, e) in enumerate(zip(batches, noise.chunk(block_size), strict=True)):
            optimizer.zero_grad()
            trained.elbo(x, e).loss.mean().backward()
            gradients = [weight.grad.flatten() for weight in trained.parameters() if weight.grad is not None]
            norm = float(torch.cat(gradients).norm())
            optimizer.param_groups[0]["lr"] = lr = 1e-3 * vae.schedule(step)
            optimizer.step()
        found = fit(vae, data).callback_metrics
        assert float(found["train/gradient_norm"]) == pytest.approx(norm, rel=1e-4)
        assert float(found["train/lr"]) == pytest.approx(lr, rel=1e-9)


@pytest.mark.parametrize("batch_size", [1, 33, 1000])
def test_evaluation_does_not_depend_on_the_batch_size(few_digits: FewDigits, batch_size: int) -> None:
    def test_loss(size: int) -> float:
        trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
        data = few_digits(400, val_size=0, eval_batch_size=size)
        return trainer.test(VAE(), datamodule=data, verbose=False)[0]["test/loss"]

    assert test_loss(batch_size) == pytest.approx(test_loss(64), rel=1e-6)


def test_batches_of_an_ordinary_dataloader_will_do(images: Tensor) -> None:
    loader = DataLoader(TensorDataset(images, torch.zeros(len(images))), batch_size=16)
    vae = VAE()
    trainer = Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    trainer.fit(vae, loader, loader)
    assert trainer.global_step == 7
    assert {"train/loss", "val/loss"} <= set(trainer.callback_metrics)
