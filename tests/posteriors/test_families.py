"""Every family of posteriors: density, samples and gradients against numerical integration."""

import math
from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from vae_lightning import posteriors
from vae_lightning.posteriors import Distribution, Posterior
from vae_lightning.posteriors.concrete import Concrete
from vae_lightning.posteriors.distribution import log_ratio
from vae_lightning.streams import seeded

DRAWS = 100_000


class Family(NamedTuple):
    """A family to test.

    Attributes:
        make: returns the posterior of a few latents, so that integrals over them are feasible.
        encoded: outputs of an encoder for several images, ``(N, outputs)``: ordinary ones and extremes.
    """

    make: Callable[[], Posterior]
    encoded: list[list[float]]


FAMILIES = {
    "gaussian": Family(lambda: posteriors.Gaussian(latent_dim=1), [[0.3, -0.5], [-2.0, 1.5], [0.0, -4.0]]),
    "laplace": Family(lambda: posteriors.Laplace(latent_dim=1), [[0.3, -0.5], [-2.0, 1.0], [0.0, -3.0]]),
    "logistic": Family(lambda: posteriors.Logistic(latent_dim=1), [[0.3, -0.5], [-2.0, 1.0], [0.0, -3.0]]),
    "gaussian_full": Family(
        lambda: posteriors.GaussianFull(latent_dim=2), [[0.3, -0.5, 0.2, -0.3, 0.8], [1.0, 2.0, -1.0, 0.5, -1.5]]
    ),
    "gaussian_low_rank": Family(
        lambda: posteriors.GaussianFull(latent_dim=2, rank=1),
        [[0.3, -0.5, 0.2, -0.3, 0.8, -0.4], [1.0, 2.0, 0.0, -1, 1.5, 0]],
    ),
    "mixture": Family(
        lambda: posteriors.MixtureOfGaussians(latent_dim=2, components=2),
        [
            [0.3, -0.5, 0.2, -0.3, 0.8, 1.0, 0.1, -0.5, -1.0, 0.4],
            [2.0, 0.0, 2.0, 2.0, -2.0, -1.0, 0.0, 0.0, -1.0, -1.0],
        ],
    ),
    "concrete_bernoulli": Family(lambda: posteriors.ConcreteBernoulli(latent_dim=1), [[0.3], [-2.0], [4.0]]),
    "concrete_categorical": Family(
        lambda: posteriors.ConcreteCategorical(latent_dim=1, categories=2), [[0.3, -0.2], [-2.0, 1.0]]
    ),
}

# Functions f(z), which act on the sum of an image's numbers with unequal weights.
FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda x: x,
    "square": lambda x: x.square(),
    "wave": torch.sin,
    "step": lambda x: torch.sigmoid(4 * (x - 1)),
}


class Grid(NamedTuple):
    """Points of a support, ``(M, size)``, and their weights in an integral, ``(M,)``."""

    z: Tensor
    weights: Tensor


def _axis(count: int, reach: float) -> tuple[Tensor, Tensor]:
    """Return points of the real line, dense near 0, and their weights."""
    t = torch.linspace(-math.asinh(reach), math.asinh(reach), count, dtype=torch.float64)
    return torch.sinh(t), torch.cosh(t) * (t[1] - t[0])


def _line(size: int) -> Grid:
    if size == 1:
        z, weights = _axis(400_001, 3000.0)
        return Grid(z[:, None], weights)
    z, weights = _axis(801, 60.0)
    return Grid(torch.cartesian_prod(z, z), torch.cartesian_prod(weights, weights).prod(1))


def _interval(size: int) -> Grid:
    assert size == 1
    log_odds, weights = _axis(400_001, 300.0)
    z = log_odds.sigmoid()
    return Grid(z[:, None], weights * z * (1 - z))


def _segment(size: int) -> Grid:
    """The points (z, 1 - z), with dz as the measure."""
    assert size == 2
    z, weights = _interval(1)
    return Grid(torch.cat([z, 1 - z], 1), weights)


# By support; that of discrete latents is the support of their relaxation.
GRIDS: dict[str, Callable[[int], Grid]] = {
    "real numbers": _line,
    "binary vectors": _interval,
    "one-hot vectors": _segment,
}


def _build(name: str) -> tuple[Posterior, Tensor]:
    with seeded(0, "initialisation"):
        posterior = FAMILIES[name].make().double()
    return posterior, torch.tensor(FAMILIES[name].encoded, dtype=torch.float64, requires_grad=True)


def _noise(distribution: Distribution, count: int, images: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, images, distribution.noise_size, dtype=torch.float64, generator=generator)


def _projected(z: Tensor) -> Tensor:
    return (z * torch.linspace(1, 0.5, z.shape[-1], dtype=z.dtype)).sum(-1)


@pytest.fixture(params=FAMILIES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_sizes(name: str) -> None:
    posterior, encoded = _build(name)
    distribution = posterior(encoded)
    assert encoded.shape[1] == posterior.outputs
    assert distribution.noise_size == posterior.noise_size
    z = distribution.rsample(_noise(distribution, 7, len(encoded)))
    assert z.shape == (7, len(encoded), posterior.size)
    terms = posterior.latent_dim if posterior.factorised else 1
    assert distribution.log_prob(z).shape == (7, len(encoded), terms)
    assert distribution.mean.shape == (len(encoded), posterior.size)


def test_density_integrates_to_one(name: str) -> None:
    posterior, encoded = _build(name)
    grid = GRIDS[posterior.support](posterior.size)
    with torch.no_grad():
        density = posterior(encoded).log_prob(grid.z[:, None]).sum(-1).exp()
    torch.testing.assert_close(grid.weights @ density, torch.ones(len(encoded), dtype=torch.float64), atol=1e-4, rtol=0)


def test_samples_follow_the_density(name: str) -> None:
    posterior, encoded = _build(name)
    distribution = posterior(encoded).detach()
    grid = GRIDS[posterior.support](posterior.size)
    density = distribution.log_prob(grid.z[:, None]).sum(-1).exp()
    x = _projected(distribution.rsample(_noise(distribution, DRAWS, len(encoded))))
    levels = torch.quantile(x[:20_000], torch.linspace(0.05, 0.95, 7, dtype=torch.float64), dim=0)
    for level in levels:
        expected = (grid.weights[:, None] * density * (_projected(grid.z)[:, None] <= level)).sum(0)
        found = (x <= level).double().mean(0)
        torch.testing.assert_close(found, expected, atol=6e-3, rtol=0)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_gradient_of_an_expectation(name: str, function: str) -> None:
    """The pathwise gradient agrees with the derivative of the integral of f(z) q(z), for each parameter."""
    f = FUNCTIONS[function]
    posterior, encoded = _build(name)
    inputs = [encoded, *posterior.parameters()]
    grid = GRIDS[posterior.support](posterior.size)
    density = posterior(encoded).log_prob(grid.z[:, None]).sum(-1).exp()
    expectation = (grid.weights * f(_projected(grid.z))) @ density
    exact = torch.autograd.grad(expectation.sum(), inputs)
    distribution = posterior(encoded)
    noise = _noise(distribution, DRAWS, len(encoded))
    estimates = []
    for part in noise.chunk(40):
        value = f(_projected(posterior(encoded).rsample(part))).mean(0).sum()
        estimates.append(torch.autograd.grad(value, inputs))
    for found, expected in zip(zip(*estimates, strict=True), exact, strict=True):
        each = torch.stack(found)
        error = each.std(0) / math.sqrt(len(each))
        assert ((each.mean(0) - expected).abs() <= 5 * error + 2e-4 * (1 + expected.abs())).all(), (
            each.mean(0),
            expected,
            error,
        )


def test_density_of_own_samples(name: str) -> None:
    posterior, encoded = _build(name)
    distribution = posterior(encoded)
    noise = _noise(distribution, 50, len(encoded))
    z, log_prob = distribution.rsample_and_log_prob(noise)
    torch.testing.assert_close(z, distribution.rsample(noise))
    torch.testing.assert_close(log_prob, distribution.log_prob(z))


def test_kl_from_the_standard(name: str) -> None:
    """The closed form agrees with the mean of log q - log p, and is never negative."""
    posterior, encoded = _build(name)
    distribution, standard = posterior(encoded).detach(), posterior.standard(encoded.detach())
    kl = distribution.kl(standard)
    if kl is None or isinstance(posterior, Concrete):  # whose KL is that of the discrete distributions
        pytest.skip("no closed form")
    z, log_prob = distribution.rsample_and_log_prob(_noise(distribution, DRAWS, len(encoded)))
    difference = log_ratio(log_prob, standard.log_prob(z))
    error = difference.std(0) / math.sqrt(DRAWS)
    assert ((difference.mean(0) - kl).abs() <= 5 * error + 1e-9).all()
    assert (kl >= 0).all()


def test_gradients_reach_every_parameter(name: str) -> None:
    posterior, encoded = _build(name)
    distribution = posterior(encoded)
    z, log_prob = distribution.rsample_and_log_prob(_noise(distribution, 50, len(encoded)))
    (z.square().sum() + log_prob.sum()).backward()
    for parameter in [encoded, *posterior.parameters()]:
        assert parameter.grad is not None
        assert parameter.grad.isfinite().all()
        assert (parameter.grad != 0).any()


def test_stacked(name: str) -> None:
    """With leading dimensions for models, samples and densities are those of each model alone."""
    posterior, encoded = _build(name)
    distribution = posterior(encoded.detach())
    noise = _noise(distribution, 10, len(encoded))
    stacked = torch.func.vmap(lambda x: posterior(x))(torch.stack([encoded.detach(), encoded.detach().flip(0)]))
    z, log_prob = stacked.rsample_and_log_prob(noise[:, None].expand(-1, 2, -1, -1))
    for k, alone in enumerate([distribution, posterior(encoded.detach().flip(0))]):
        own, own_log_prob = alone.rsample_and_log_prob(noise)
        torch.testing.assert_close(z[:, k], own)
        torch.testing.assert_close(log_prob[:, k], own_log_prob)


def test_single_precision(name: str) -> None:
    posterior, encoded = _build(name)
    noise = _noise(posterior(encoded), 1000, len(encoded))
    z = posterior(encoded).rsample(noise)
    single = posterior.float()(encoded.float()).rsample(noise.float())
    assert single.dtype == torch.float32
    assert single.isfinite().all()
    torch.testing.assert_close(single.double(), z, rtol=2e-3, atol=2e-3)
