"""Estimators of the encoder's gradient: which are unbiased, and how noisy each is."""

from functools import partial

import pytest
import torch
from torch import Tensor

from vae_lightning import VAE
from vae_lightning.estimators.estimator import Estimator
from vae_lightning.estimators.no_gradient import NoGradient
from vae_lightning.estimators.reparameterization import Reparameterization
from vae_lightning.estimators.score_function import ScoreFunction
from vae_lightning.models.draw import draw
from vae_lightning.objectives import IWAE, NegativeELBO, Objective
from vae_lightning.posteriors import GaussianDistribution
from vae_lightning.streams import generator

REPEATS = 20_000


def gradients(estimator: Estimator, objective: Objective, image: Tensor) -> Tensor:
    """The gradient for mu and logvar of one image, many times: ``(REPEATS, 2 * latent_dim)``."""
    vae = VAE(latent_dim=2, widths=(8,), image_shape=(1, 7, 7)).double()
    vae.estimator = estimator
    with torch.no_grad():
        start = vae.encode(image)
    mu, logvar = (term.repeat(REPEATS, 1).requires_grad_() for term in start)
    vae.encode = lambda images: GaussianDistribution(mu, logvar)  # type: ignore[method-assign]
    noise = torch.randn(objective.samples, REPEATS, 2, generator=generator(0, "test"), dtype=torch.float64)
    draws = draw(vae, image, noise, estimator=estimator)
    value = estimator.loss(partial(objective, step=0), draws)
    return torch.cat(torch.autograd.grad(value.sum(), [mu, logvar]), 1)


@pytest.fixture
def image(images: Tensor) -> Tensor:
    return images[:1, :, ::4, ::4].double()


@pytest.mark.parametrize("objective", [NegativeELBO(), IWAE(3, doubly_reparameterized=False)])
def test_the_score_functions_gradient_is_the_reparameterised_one_with_more_noise(
    objective: Objective, image: Tensor
) -> None:
    reference, plain, baseline, none = (
        gradients(estimator, objective, image)
        for estimator in (Reparameterization(), ScoreFunction(), ScoreFunction(baseline=True), NoGradient())
    )

    def unbiased(found: Tensor) -> bool:
        error = ((found.var(0) + reference.var(0)) / REPEATS).sqrt()
        return bool(((found.mean(0) - reference.mean(0)).abs() < 5 * error).all())

    assert unbiased(plain)
    assert unbiased(baseline)
    assert not unbiased(none)
    assert plain.var(0).sum() > 10 * baseline.var(0).sum()
    assert baseline.var(0).sum() > reference.var(0).sum()


def test_without_a_gradient_through_the_latents_the_encoder_learns_from_the_kl_alone(image: Tensor) -> None:
    found = gradients(NoGradient(), NegativeELBO(), image)
    vae = VAE(latent_dim=2, widths=(8,), image_shape=(1, 7, 7)).double()
    mu, logvar = vae.encode(image)
    expected = torch.cat([mu, 0.5 * torch.expm1(logvar)], 1)  # of the KL
    torch.testing.assert_close(found, expected.expand(REPEATS, -1))


def test_the_baseline_of_an_image_is_the_mean_of_the_others(image: Tensor) -> None:
    objective, estimator = NegativeELBO(), ScoreFunction(baseline=True)
    vae = VAE(latent_dim=2, widths=(8,), image_shape=(1, 7, 7)).double()
    vae.estimator = estimator
    draws = draw(
        vae,
        image.expand(3, -1, -1, -1),
        torch.randn(1, 3, 2, generator=generator(0, "test")).double(),
        estimator=estimator,
    )
    posterior = GaussianDistribution(
        *(term.detach().requires_grad_() for term in vae.encode(image.expand(3, -1, -1, -1)))
    )
    draws = draws._replace(posterior=posterior)
    (found,) = torch.autograd.grad(
        estimator.loss(lambda draws: objective(draws, 0)._replace(exact=torch.zeros(3)), draws).sum(), [posterior.mu]
    )
    nll = draws.nll[0].detach()
    others = torch.stack([nll[[1, 2]].mean(), nll[[0, 2]].mean(), nll[[0, 1]].mean()])
    score = (draws.z[0] - posterior.mu.detach()) / posterior.logvar.exp()
    torch.testing.assert_close(found, ((nll - others)[:, None] * score).detach())
