"""The learned prior: a member of the posterior's family."""

from typing import Any

import pytest
import torch
from conftest import TINY, Compose
from torch import Tensor

from vae_lightning import VAE, posteriors, priors
from vae_lightning.config.errors import InputError
from vae_lightning.models.draw import draw
from vae_lightning.models.rules import check_choices
from vae_lightning.posteriors.rules import FACTORISED, WITHOUT_DERIVATIVE
from vae_lightning.posteriors.rules import SUPPORTS as POSTERIORS
from vae_lightning.priors.rules import INDEPENDENT
from vae_lightning.priors.rules import RULES as PRIORS
from vae_lightning.runs.training import train
from vae_lightning.streams import generator

SHAPE = (1, 5, 4)
LEARNED = {"_target_": "vae_lightning.priors.Learned"}


def encoded(vae: VAE) -> Tensor:
    """The learned parameters."""
    return vae.get_parameter("prior.encoded")


def _vae(posterior: str, options: dict[str, Any] | None = None, spread: float = 0.0, **arguments: Any) -> VAE:
    estimator = "ScoreFunction" if posterior in WITHOUT_DERIVATIVE else "Reparameterization"
    vae = VAE(
        latent_dim=3,
        widths=[6],
        image_shape=SHAPE,
        posterior={"_target_": f"vae_lightning.posteriors.{posterior}", **(options or {})},
        prior=LEARNED,
        estimator={"_target_": f"vae_lightning.estimators.{estimator}"},
        **arguments,
    ).double()
    with torch.no_grad():
        encoded(vae).add_(spread * torch.randn(encoded(vae).shape, generator=generator(1, "prior")))
    return vae


@pytest.fixture
def images() -> Tensor:
    return torch.rand(4, *SHAPE, generator=generator(0, "images"), dtype=torch.float64)


@pytest.mark.parametrize("posterior", ["Bernoulli", "Categorical", "ConcreteBernoulli", "Gaussian"])
def test_a_new_prior_is_the_standard_one(posterior: str, images: Tensor) -> None:
    vae = _vae(posterior)
    posteriors_of = vae.encode(images)
    torch.testing.assert_close(
        posteriors_of.kl(vae.prior_distribution()), posteriors_of.kl(vae.posterior.standard(images))
    )


@pytest.mark.parametrize(
    ("posterior", "options"),
    [
        ("Bernoulli", {}),
        ("Categorical", {"categories": 4}),
        ("ConcreteBernoulli", {}),
        ("ConcreteCategorical", {"categories": 4, "straight_through": True}),
        ("Gaussian", {}),
    ],
)
def test_the_kl_is_exact_by_dimension(posterior: str, options: dict[str, Any], images: Tensor) -> None:
    vae = _vae(posterior, options, spread=1.0).eval()
    noise = torch.randn(20_000, 4, vae.posterior.noise_size, generator=generator(0, "test"), dtype=torch.float64)
    with torch.no_grad():
        draws = draw(vae, images, noise)
        ratios = draws.posterior.log_prob(draws.z) - draws.prior.log_prob(draws.z)
    assert draws.exact_kl
    assert draws.kl.shape == (4, 3)
    assert ((ratios.mean(0) - draws.kl).abs() < 5 * ratios.std(0) / len(noise) ** 0.5).all()


@pytest.mark.parametrize("posterior", ["ConcreteBernoulli", "ConcreteCategorical"])
def test_with_relaxed_latents_the_prior_is_relaxed_as_they_are(posterior: str, images: Tensor) -> None:
    vae = _vae(posterior, {"kl": "relaxed"}, spread=1.0)
    draws = draw(vae, images, torch.randn(5, 4, vae.posterior.noise_size, generator=generator(0, "test")).double())
    assert type(draws.prior) is type(draws.posterior)
    assert not draws.exact_kl
    assert draws.kl.shape == (5, 4, 3)
    torch.testing.assert_close(draws.kl, draws.posterior.log_prob(draws.z) - draws.prior.log_prob(draws.z))
    (gradient,) = torch.autograd.grad(draws.kl.sum(), encoded(vae))
    assert (gradient != 0).all()


def test_an_optimiser_of_its_own_steps_the_prior_alone(images: Tensor) -> None:
    vae = _vae("Bernoulli", spread=1.0, prior_optimizer={"_target_": "torch.optim.SGD", "lr": 1e-2})
    before = {name: weight.detach().clone() for name, weight in vae.named_parameters()}
    optimizer = vae.configure_optimizers()
    vae.elbo(images, torch.zeros(4, 3, dtype=torch.float64)).loss.mean().backward()
    optimizer.step()
    gradient = encoded(vae).grad
    assert gradient is not None
    torch.testing.assert_close(encoded(vae), before["prior.encoded"] - 1e-2 * gradient)
    for name, weight in vae.named_parameters():
        # Adam's first step is lr in the direction of the gradient's sign, up to rounding.
        if name.startswith("decoder"):
            assert ((weight - before[name]).abs() < 1.01e-3).all()
    with pytest.raises(InputError, match="prior_optimizer: must be null, because prior=Standard has no weights"):
        VAE(prior_optimizer={"_target_": "torch.optim.SGD", "lr": 1e-2})


def test_a_run_trains_it_with_its_own_optimiser(composed: Compose) -> None:
    options = [*TINY, "logger=none", "posterior=bernoulli", "estimator=disarm", "prior=learned"]
    still, moving = (
        train(composed(*options, f"model.prior_optimizer={{_target_: torch.optim.SGD, lr: {lr}}}", run=f"{lr}"))
        for lr in (1e-9, 1e-1)
    )
    assert still["train/loss"] != moving["train/loss"]


@pytest.mark.parametrize("posterior", sorted({*POSTERIORS} - {*FACTORISED}))
def test_dependent_latents_are_refused(posterior: str) -> None:
    message = f"prior=Learned: must be another, because the latent variables of posterior={posterior} depend"
    with pytest.raises(InputError, match=message):
        _vae(posterior)
    with pytest.raises(InputError, match=message):  # before torch is imported
        check_choices({"posterior": {"_target_": f"vae_lightning.posteriors.{posterior}"}, "prior": LEARNED})


def test_the_rules_repeat_the_attributes() -> None:
    assert {name for name in POSTERIORS if getattr(posteriors, name).factorised} == {*FACTORISED}
    assert {name for name in PRIORS if getattr(priors, name).independent} == {*INDEPENDENT}
