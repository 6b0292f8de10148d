import pytest
import torch
from torch.distributions import Bernoulli, Normal, kl_divergence

from vae_lightning.objectives import bernoulli_nll, gaussian_kl
from vae_lightning.streams import generator

STANDARD = Normal(torch.tensor(0.0, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64))


@pytest.fixture
def posterior() -> tuple[torch.Tensor, torch.Tensor]:
    source = generator(0, "test")
    mu, logvar = torch.randn(2, 50, 4, generator=source, dtype=torch.float64)
    return mu, 2 * logvar


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


def test_nll_of_binary_pixels_is_that_of_torch_distributions() -> None:
    logits = torch.randn(10, 2, 5, 5, generator=generator(0, "test"), dtype=torch.float64)
    pixels = (torch.rand(10, 2, 5, 5, generator=generator(1, "test")) > 0.5).double()
    expected = -Bernoulli(logits=logits).log_prob(pixels).sum((1, 2, 3))
    torch.testing.assert_close(bernoulli_nll(logits, pixels), expected)


def test_nll_of_grey_pixels_is_least_where_the_logits_are_the_pixels_own() -> None:
    pixels = torch.rand(1, 1, 4, 4, generator=generator(0, "test"), dtype=torch.float64)
    logits = pixels.logit().requires_grad_()
    (gradient,) = torch.autograd.grad(bernoulli_nll(logits, pixels).sum(), logits)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient))


@pytest.mark.parametrize("logvar", [-50.0, 50.0])
@pytest.mark.parametrize("logit", [-1e4, 1e4])
def test_extremes_are_finite_and_so_are_their_gradients(logvar: float, logit: float) -> None:
    logvars = torch.full((2, 3), logvar, requires_grad=True)
    logits = torch.full((2, 1, 4, 4), logit, requires_grad=True)
    pixels = torch.rand(2, 1, 4, 4, generator=generator(0, "test"))
    terms = gaussian_kl(torch.zeros(2, 3), logvars).sum(-1), bernoulli_nll(logits, pixels)
    (terms[0] + terms[1]).sum().backward()
    assert all(term.isfinite().all() for term in terms)
    assert logvars.grad is not None
    assert logits.grad is not None
    assert logvars.grad.isfinite().all()
    assert logits.grad.isfinite().all()
