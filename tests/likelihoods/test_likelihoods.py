"""Likelihoods: each is the density that it says, its mean is that density's, and nothing overflows."""

import math

import pytest
import torch
from torch import distributions

from vae_lightning.likelihoods.bernoulli import Bernoulli
from vae_lightning.likelihoods.continuous_bernoulli import ContinuousBernoulli
from vae_lightning.likelihoods.gaussian import Gaussian
from vae_lightning.likelihoods.likelihood import Likelihood
from vae_lightning.streams import generator

LIKELIHOODS = [Bernoulli, ContinuousBernoulli, Gaussian]


def test_nll_of_binary_pixels_is_that_of_torch_distributions() -> None:
    logits = torch.randn(10, 2, 5, 5, generator=generator(0, "test"), dtype=torch.float64)
    pixels = (torch.rand(10, 2, 5, 5, generator=generator(1, "test")) > 0.5).double()
    expected = -distributions.Bernoulli(logits=logits).log_prob(pixels).sum((1, 2, 3))
    torch.testing.assert_close(Bernoulli().nll(logits, pixels), expected)


def test_nll_of_grey_pixels_is_least_where_the_logits_are_the_pixels_own() -> None:
    pixels = torch.rand(1, 1, 4, 4, generator=generator(0, "test"), dtype=torch.float64)
    logits = pixels.logit().requires_grad_()
    (gradient,) = torch.autograd.grad(Bernoulli().nll(logits, pixels).sum(), logits)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient))


@pytest.fixture
def grid() -> torch.Tensor:
    """Grey values from 0 to 1, an image of one pixel each."""
    return torch.linspace(0, 1, 20_001, dtype=torch.float64).view(-1, 1, 1, 1)


# 0.05 is where series take the place of quotients.
@pytest.mark.parametrize("logit", [-30.0, -1.0, -0.0501, -0.0499, -1e-9, 0.0, 1e-4, 0.049, 0.051, 3.0, 30.0])
def test_the_continuous_bernoulli_is_a_density_with_that_mean(logit: float, grid: torch.Tensor) -> None:
    likelihood, logits = ContinuousBernoulli(), torch.full_like(grid, logit)
    density, values = torch.exp(-likelihood.nll(logits, grid)), grid.flatten()
    assert torch.trapezoid(density, values).item() == pytest.approx(1, abs=1e-6)
    mean = torch.trapezoid(density * values, values).item()
    assert likelihood.mean(logits)[0].item() == pytest.approx(mean, abs=1e-6)


@pytest.mark.parametrize("logit", [-0.0499, 0.01, 0.0499, 0.0501])
def test_series_and_quotients_of_the_continuous_bernoulli_meet(logit: float) -> None:
    logits = torch.full((1, 1, 1, 1), logit, dtype=torch.float64)
    normaliser = Bernoulli().nll(logits, torch.zeros(1).double()) - ContinuousBernoulli().nll(
        logits, torch.zeros(1).double()
    )
    assert normaliser.item() == pytest.approx(math.log(logit / math.tanh(logit / 2)), abs=1e-10)
    mean = ContinuousBernoulli().mean(logits).item()
    assert mean == pytest.approx(1 / -math.expm1(-logit) - 1 / logit, abs=1e-10)


@pytest.mark.parametrize("logit", [-2.0, 0.3, 4.0])
def test_the_continuous_bernoulli_is_that_of_torch_distributions(logit: float, grid: torch.Tensor) -> None:
    logits = torch.full_like(grid, logit)
    other = distributions.ContinuousBernoulli(logits=logits)
    torch.testing.assert_close(ContinuousBernoulli().nll(logits, grid), -other.log_prob(grid).flatten())
    torch.testing.assert_close(ContinuousBernoulli().mean(logits), other.mean)


def test_the_gaussian_is_that_of_torch_distributions() -> None:
    logits = torch.randn(10, 2, 5, 5, generator=generator(0, "test"), dtype=torch.float64)
    pixels = torch.rand(10, 2, 5, 5, generator=generator(1, "test"), dtype=torch.float64)
    likelihood = Gaussian().double()
    with torch.no_grad():
        likelihood.log_scale.fill_(-1.5)
    expected = -distributions.Normal(logits.sigmoid(), math.exp(-1.5)).log_prob(pixels).sum((1, 2, 3))
    torch.testing.assert_close(likelihood.nll(logits, pixels), expected)


def test_the_gaussians_variance_is_learned_to_be_the_mean_squared_error() -> None:
    logits = torch.randn(10, 1, 5, 5, generator=generator(0, "test"), dtype=torch.float64)
    pixels = torch.rand(10, 1, 5, 5, generator=generator(1, "test"), dtype=torch.float64)
    likelihood = Gaussian().double()
    error = (pixels - logits.sigmoid()).square().mean()
    with torch.no_grad():
        likelihood.log_scale.copy_(0.5 * error.log())
    likelihood.nll(logits, pixels).sum().backward()
    assert likelihood.log_scale.grad is not None
    assert abs(likelihood.log_scale.grad.item()) < 1e-9


@pytest.mark.parametrize("kind", LIKELIHOODS)
def test_images_and_logits_broadcast_and_each_image_counts_by_itself(kind: type[Likelihood]) -> None:
    logits = torch.randn(3, 4, 1, 5, 5, generator=generator(0, "test"), dtype=torch.float64)
    pixels = torch.rand(4, 1, 5, 5, generator=generator(1, "test"), dtype=torch.float64)
    found = kind().double().nll(logits, pixels)
    assert found.shape == (3, 4)
    torch.testing.assert_close(found[1, 2:3], kind().double().nll(logits[1, 2:3], pixels[2:3]))


@pytest.mark.parametrize("kind", LIKELIHOODS)
@pytest.mark.parametrize("logit", [-1e4, -1e-30, 0.0, 1e-3, 1e4])
def test_extremes_are_finite_and_so_are_their_gradients(kind: type[Likelihood], logit: float) -> None:
    logits = torch.full((2, 1, 4, 4), logit, requires_grad=True)
    pixels = torch.rand(2, 1, 4, 4, generator=generator(0, "test"))
    nll, mean = kind().nll(logits, pixels), kind().mean(logits)
    (nll.sum() + mean.sum()).backward()
    assert nll.isfinite().all()
    assert ((mean >= 0) & (mean <= 1)).all()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
