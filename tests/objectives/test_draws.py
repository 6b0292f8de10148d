"""The terms of objectives: the KL in closed form, log-weights."""

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from vae_lightning.objectives import Draws
from vae_lightning.posteriors import GaussianDistribution, StandardNormal, gaussian_kl
from vae_lightning.streams import generator

STANDARD = Normal(torch.tensor(0.0, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64))


@pytest.fixture
def posterior() -> tuple[torch.Tensor, torch.Tensor]:
    source = generator(0, "test")
    mu, logvar = torch.randn(2, 50, 4, generator=source, dtype=torch.float64)
    return mu, 2 * logvar


def drawn(mu: torch.Tensor, logvar: torch.Tensor, z: torch.Tensor, nll: torch.Tensor) -> Draws:
    prior = StandardNormal.of(mu, mu.shape[-1])
    return Draws(GaussianDistribution(mu, logvar), prior, gaussian_kl(mu, logvar), True, z, nll)


def test_kl_is_that_of_torch_distributions(posterior: tuple[torch.Tensor, torch.Tensor]) -> None:
    mu, logvar = posterior
    torch.testing.assert_close(gaussian_kl(mu, logvar), kl_divergence(Normal(mu, (logvar / 2).exp()), STANDARD))


def test_kl_is_the_mean_log_ratio_of_the_densities() -> None:
    mu, logvar = torch.tensor(0.7, dtype=torch.float64), torch.tensor(-1.2, dtype=torch.float64)
    posterior = Normal(mu, (logvar / 2).exp())
    noise = torch.randn(400_000, generator=generator(0, "test"), dtype=torch.float64)
    z = mu + (logvar / 2).exp() * noise
    ratios = posterior.log_prob(z) - STANDARD.log_prob(z)
    standard_error = ratios.std() / len(ratios) ** 0.5
    assert abs(ratios.mean() - gaussian_kl(mu, logvar)) < 4 * standard_error


def test_kl_is_positive_but_for_the_prior_itself(posterior: tuple[torch.Tensor, torch.Tensor]) -> None:
    assert (gaussian_kl(*posterior) > 0).all()
    assert gaussian_kl(torch.zeros(3), torch.zeros(3)).eq(0).all()
    # Near the prior the KL is about (mu² + logvar²/2) / 2; written with exp it would be rounded away.
    logvar = torch.tensor(1e-3, dtype=torch.float32)
    torch.testing.assert_close(gaussian_kl(torch.tensor(0.0), logvar), logvar**2 / 4, rtol=1e-3, atol=0)


def test_extremes_are_finite_and_so_are_their_gradients() -> None:
    logvars = torch.tensor([[-50.0], [50.0]], requires_grad=True)
    kl = gaussian_kl(torch.zeros(2, 1), logvars)
    kl.sum().backward()
    assert kl.isfinite().all()
    assert logvars.grad is not None
    assert logvars.grad.isfinite().all()


def test_log_weights_are_those_of_torch_distributions(posterior: tuple[torch.Tensor, torch.Tensor]) -> None:
    mu, logvar = posterior
    z = mu + (logvar / 2).exp() * torch.randn(3, 50, 4, generator=generator(1, "test"), dtype=torch.float64)
    nll = torch.rand(3, 50, generator=generator(2, "test"), dtype=torch.float64)
    draws = drawn(mu, logvar, z, nll)
    log_posterior = Normal(mu, (logvar / 2).exp()).log_prob(z).sum(-1)
    torch.testing.assert_close(draws.log_weights(), STANDARD.log_prob(z).sum(-1) - log_posterior - nll)
    torch.testing.assert_close(draws.log_posterior(), log_posterior)
    torch.testing.assert_close(draws.log_prior(), STANDARD.log_prob(z).sum(-1))


def test_the_elbo_is_its_terms(posterior: tuple[torch.Tensor, torch.Tensor]) -> None:
    mu, logvar = posterior
    nll = torch.rand(3, 50, generator=generator(2, "test"), dtype=torch.float64)
    elbo = drawn(mu, logvar, mu.expand(3, -1, -1), nll).elbo()
    torch.testing.assert_close(elbo.loss, elbo.recon + elbo.kl)
    torch.testing.assert_close(elbo.recon, nll.mean(0))
