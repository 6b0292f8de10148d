"""Objectives: what each is by definition, and that training makes it small."""

import copy
import math
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import FewDigits, composing
from hydra import compose
from lightning.pytorch import Trainer
from omegaconf import OmegaConf
from torch import Tensor

from vae_lightning import VAE, InputError
from vae_lightning.commands.command import CONF
from vae_lightning.config.targets import build
from vae_lightning.estimators import VIMCO, Estimator, StickingTheLanding
from vae_lightning.estimators.rules import POSTERIORS
from vae_lightning.models.draw import draw
from vae_lightning.models.vae import ADAM
from vae_lightning.objectives import IWAE, BetaELBO, Draws, FreeBits, NegativeELBO
from vae_lightning.posteriors import GaussianDistribution, StandardNormal, gaussian_kl
from vae_lightning.streams import generator

WARM_UP = {"_target_": "vae_lightning.schedules.WarmUp", "steps": 10}


def drawn(vae: VAE, images: Tensor, samples: int, seed: int = 0) -> Draws:
    noise = torch.randn(samples, len(images), vae.latent_dim, generator=generator(seed, "test"), dtype=images.dtype)
    return draw(vae, images, noise)


@pytest.fixture
def vae() -> VAE:
    return VAE(latent_dim=3, widths=(16,), image_shape=(1, 7, 7)).double()


@pytest.fixture
def few(images: Tensor) -> Tensor:
    return images[:10, :, ::4, ::4].double()


def test_the_negative_elbo_is_the_loss(vae: VAE, few: Tensor) -> None:
    draws = drawn(vae, few, 2)
    torch.testing.assert_close(NegativeELBO()(draws, 0).total(draws), draws.elbo().loss)


def test_beta_weighs_the_kl_and_warms_up(vae: VAE, few: Tensor) -> None:
    draws = drawn(vae, few, 1)
    _, recon, kl = draws.elbo()
    torch.testing.assert_close(BetaELBO(beta=4.0)(draws, 0).total(draws), recon + 4 * kl)
    warm = BetaELBO(beta=4.0, schedule=WARM_UP)
    for step, factor in [(0, 0.0), (5, 0.5), (10, 1.0), (99, 1.0)]:
        torch.testing.assert_close(warm(draws, step).total(draws), recon + 4 * factor * kl)


def test_free_bits_leave_a_dimension_alone_until_it_has_used_them() -> None:
    mu = torch.tensor([[0.1, 2.0], [0.2, 1.0]], dtype=torch.float64, requires_grad=True)
    kl = gaussian_kl(mu, torch.zeros_like(mu))  # means 0.0125 and 1.25
    posterior, prior = GaussianDistribution(mu, torch.zeros_like(mu)), StandardNormal.of(mu, 2)
    terms = FreeBits(free_nats=0.5)(Draws(posterior, prior, kl, True, mu[None], torch.zeros(1, 2)), 0)
    value = terms.exact.mean()
    assert value.item() == pytest.approx(0.5 + 1.25)  # the sum over dimensions of the larger of lambda and the mean
    (gradient,) = torch.autograd.grad(value, mu)
    torch.testing.assert_close(gradient, torch.tensor([[0.0, 1.0], [0.0, 0.5]], dtype=torch.float64))


def test_the_bound_by_one_sample_is_the_elbo_and_rises_with_samples(vae: VAE, few: Tensor) -> None:
    one, many = drawn(vae, few[:1].expand(20_000, -1, -1, -1), 1), drawn(vae, few[:1].expand(4_000, -1, -1, -1), 50)
    single = IWAE(samples=1)(one, 0).sampled[0]
    error = single.std() / math.sqrt(len(single))
    assert abs(single.mean() - one.elbo().loss.mean()) < 5 * error
    assert IWAE(samples=50)(many, 0).sampled.mean() < single.mean() - 5 * error


def test_the_bound_is_exact_where_the_posterior_is() -> None:
    # p(x|z) does not depend on z, so the true posterior is the prior.
    z = torch.randn(7, 5, 3, generator=generator(0, "test"), dtype=torch.float64)
    zeros = torch.zeros(5, 3, dtype=torch.float64)
    posterior, prior = GaussianDistribution(zeros, zeros), StandardNormal.of(zeros, 3)
    draws = Draws(posterior, prior, zeros, True, z, torch.full((7, 5), 12.5, dtype=torch.float64))
    torch.testing.assert_close(IWAE(samples=7)(draws, 0).sampled, torch.full((1, 5), 12.5, dtype=torch.float64))


def test_the_doubly_reparameterised_gradient_is_the_usual_one_with_less_noise(vae: VAE, few: Tensor) -> None:
    repeats, samples = 4_000, 20
    found, decoders = {}, {}
    for doubly in (False, True):
        mu, logvar = (term[:1].detach().repeat(repeats, 1).requires_grad_() for term in vae.encode(few))
        noise = torch.randn(samples, repeats, 3, generator=generator(0, "test"), dtype=torch.float64)
        z = VAE.reparameterize(mu, logvar, noise)
        posterior, prior = GaussianDistribution(mu, logvar), StandardNormal.of(mu, 3)
        draws = Draws(posterior, prior, gaussian_kl(mu, logvar), True, z, vae.nll(z, few[:1]))
        value = IWAE(samples, doubly_reparameterized=doubly)(draws, 0).sampled.sum()
        decoder, *own = torch.autograd.grad(value, [vae.get_parameter("decoder.0.weight"), mu, logvar])
        found[doubly], decoders[doubly] = torch.cat(own, 1), decoder
    error = (found[True].var(0) + found[False].var(0)).div(repeats).sqrt()
    assert ((found[True].mean(0) - found[False].mean(0)).abs() < 5 * error).all()
    assert (found[True].mean(0).abs() > 10 * found[True].std(0) / math.sqrt(repeats)).any()  # not all nothing
    assert found[True].var(0).sum() < found[False].var(0).sum()
    torch.testing.assert_close(decoders[True], decoders[False])


def model(*choices: str) -> dict[str, Any]:
    with composing():
        cfg = compose("train", ["run_dir=none", "sweep.name=test", "model.image_shape=[1,28,28]", *choices])
    node: Any = OmegaConf.to_container(cfg.model, resolve=True)
    return {name: value for name, value in node.items() if name != "_target_"}


def choices(group: str) -> list[str]:
    return [f"{group}={file.stem}" for file in sorted(Path(CONF, group).iterdir())]


@cache
def chosen(choice: str) -> dict[str, Any]:
    """The arguments of a choice of a group, composed once."""
    node: dict[str, Any] = model(choice)[choice.partition("=")[0]]
    return node


def companions(choice: str) -> dict[str, str]:
    """The choices of other groups without which an estimator is refused."""
    name = chosen(choice)["_target_"].rpartition(".")[-1]
    posterior = {} if "Gaussian" in POSTERIORS.get(name, ("Gaussian",)) else {"posterior": "bernoulli"}
    return posterior | ({"objective": "iwae"} if name == "VIMCO" else {})


@pytest.mark.parametrize(
    "choice", [each for group in ("objective", "likelihood", "estimator", "schedule") for each in choices(group)]
)
def test_training_with_any_choice_descends(choice: str, few_digits: Callable[..., FewDigits]) -> None:
    group, name = choice.split("=")
    nodes: dict[str, Any] = {
        key: copy.deepcopy(chosen(f"{key}={value}")) for key, value in {**companions(choice), group: name}.items()
    }
    if "objective" not in choice and "objective" in nodes:
        nodes["objective"]["doubly_reparameterized"] = False
    vae = VAE(latent_dim=3, widths=[64], optimizer={**ADAM, "lr": 3e-3}, **nodes)
    data, losses = few_digits(1000, batch_size=50, val_size=100), []
    trainer = Trainer(
        max_epochs=3, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    vae.on_train_epoch_end = lambda: losses.append(float(trainer.callback_metrics["train/recon"]))  # type: ignore[method-assign]
    trainer.fit(vae, datamodule=data)
    assert losses[-1] < losses[0]
    assert ("train/objective" in trainer.callback_metrics) == (type(vae.objective) is not NegativeELBO)


def refusal(objective: str, estimator: Estimator) -> str | None:
    """What is said of an estimator that does not go with an objective."""
    if isinstance(estimator, VIMCO):
        return None if objective == "objective=iwae" else "it needs objective=iwae"
    if estimator.single and objective == "objective=iwae":
        return "takes 5 latents of an image at once"
    if isinstance(estimator, StickingTheLanding) and objective == "objective=free_bits":
        return "needs an exact KL"
    return None


@pytest.mark.parametrize("objective", choices("objective"))
@pytest.mark.parametrize("estimator", choices("estimator"))
def test_every_choice_composes_with_every_other(objective: str, estimator: str, few: Tensor) -> None:
    posterior = chosen(f"posterior={companions(estimator).get('posterior', 'gaussian')}")
    for likelihood in choices("likelihood"):
        node: dict[str, Any] = {"latent_dim": 3, "image_shape": [1, 7, 7], "posterior": posterior}
        for choice in (objective, estimator, likelihood):
            node[choice.partition("=")[0]] = copy.deepcopy(chosen(choice))
        built = build("estimator", node["estimator"], Estimator)
        if objective == "objective=iwae" and not built.reparameterized:
            with pytest.raises(InputError, match=r"objective\.doubly_reparameterized=false"):
                VAE(**node)
            node["objective"]["doubly_reparameterized"] = False
        if (why := refusal(objective, built)) is not None:
            with pytest.raises(InputError, match=why):
                VAE(**node)
            return
        vae = VAE(**node).double()
        noise = torch.randn(vae.noise_rows, len(few), vae.posterior.noise_size, dtype=torch.float64)
        draws = vae._draws(few, noise, vae.estimator)
        terms = partial(vae.objective, step=100)
        loss = vae.estimator.loss(terms, draws)
        if not isinstance(built, StickingTheLanding):  # whose KL is that of the draws
            torch.testing.assert_close(loss, terms(draws).total(draws))  # whatever its gradient
        loss.sum().backward()
        assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in vae.parameters())
