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
PART = 20_000


class Family(NamedTuple):
    """A family to test.

    Attributes:
        make: returns the posterior of a few latents, so that integrals over them are feasible.
        encoded: outputs of an encoder for several images, ``(N, outputs)``: ordinary ones and extremes.
        tolerance: of integrals; the gradient of a density with kinks is not continuous.
    """

    make: Callable[[], Posterior]
    encoded: list[list[float]]
    tolerance: float = 2e-4


def _flow_parameters(count: int) -> list[list[float]]:
    """Return mu and logvar of two latent variables, and the other outputs of an encoder for a flow."""
    others = torch.randn(3, count, generator=torch.Generator().manual_seed(0)) * torch.tensor([[0.1], [1.0], [2.0]])
    bases = torch.tensor([[0.3, -0.5, -0.5, 0.2], [-1.0, 0.5, 0.0, 1.0], [0.0, 2.0, -0.5, -1.0]])
    rows: list[list[float]] = torch.cat([bases, others], 1).tolist()
    return rows


FAMILIES = {
    "beta": Family(lambda: posteriors.Beta(latent_dim=1), [[0.2, -0.3], [1.5, -0.5], [-2.0, 2.0]]),
    "dirichlet": Family(lambda: posteriors.Dirichlet(latent_dim=3), [[0.2, 1.0, -0.5], [2.0, -1.5, 0.5]]),
    "gamma": Family(lambda: posteriors.Gamma(latent_dim=1), [[0.3, -0.5], [3.0, 1.0], [-2.0, 0.5]]),
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
    "student_t": Family(
        lambda: posteriors.StudentT(latent_dim=1), [[0.3, -0.5, 4.0], [-2.0, 0.5, 8.0], [0.0, -3.0, 5.0]]
    ),
    "planar": Family(lambda: posteriors.Planar(latent_dim=2, layers=2), _flow_parameters(10)),
    "sylvester": Family(lambda: posteriors.Sylvester(latent_dim=2, layers=2, rank=2), _flow_parameters(24)),
    "iaf": Family(lambda: posteriors.IAF(latent_dim=2, layers=2, hidden=3), _flow_parameters(6)),
    "spline": Family(lambda: posteriors.Spline(latent_dim=2, layers=1, hidden=3, bins=3), _flow_parameters(3), 2e-3),
    "power_spherical": Family(
        lambda: posteriors.PowerSpherical(latent_dim=3),
        [[0.3, -0.5, 0.8, 1.0], [10.0, -10.0, -5.0, 10.0], [-1.0, 0.2, 0.1, -2.0]],
    ),
    "power_spherical_circle": Family(
        lambda: posteriors.PowerSpherical(latent_dim=2), [[0.3, -0.5, 1.0], [-10.0, 2.0, 10.0], [-1.0, 0.2, 0.0]]
    ),
    "von_mises_fisher": Family(
        lambda: posteriors.VonMisesFisher(latent_dim=3),
        [[0.3, -0.5, 0.8, 1.0], [10.0, -10.0, -5.0, 10.0], [-1.0, 0.2, 0.1, -10.0]],
    ),
    "von_mises_fisher_circle": Family(
        lambda: posteriors.VonMisesFisher(latent_dim=2), [[0.3, -0.5, 1.0], [-10.0, 2.0, 10.0], [-1.0, 0.2, -10.0]]
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


def _segment(size: int) -> Grid:
    """The points (z, 1 - z), with dz as the measure."""
    assert size == 2
    z, weights = _unit_axis(100_001)
    return Grid(torch.stack([z, 1 - z], 1), weights)


def _positive(size: int) -> Grid:
    assert size == 1
    t, weights = _axis(100_001, 100.0)
    return Grid(t.exp()[:, None], weights * t.exp())


def _unit_axis(count: int) -> tuple[Tensor, Tensor]:
    t, weights = _axis(count, 36.0)
    return torch.sigmoid(t), weights * torch.sigmoid(t) * torch.sigmoid(-t)


def _between_0_and_1(size: int) -> Grid:
    assert size == 1
    z, weights = _unit_axis(100_001)
    return Grid(z[:, None], weights)


def _simplex(size: int) -> Grid:
    """Break a stick twice: the first share, and the second's share of the rest."""
    assert size == 3
    axis, weights = _unit_axis(801)
    first, second = torch.cartesian_prod(axis, axis).unbind(1)
    rest = 1 - first
    z = torch.stack([first, rest * second, rest * (1 - second)], dim=1)
    return Grid(z, torch.cartesian_prod(weights, weights).prod(1) * rest)


def _sphere(size: int) -> Grid:
    longitude = torch.arange(2000, dtype=torch.float64) * (2 * math.pi / 2000)
    circle = torch.stack([longitude.cos(), longitude.sin()], -1)
    if size == 2:
        return Grid(circle, torch.full_like(longitude, 2 * math.pi / 2000))
    # Equal areas lie between equally spaced heights.
    height = torch.linspace(-1, 1, 1001, dtype=torch.float64)[1:] - 1e-3
    circle, radius = circle[::4], torch.sqrt(1 - height.square())
    z = torch.cat([radius[:, None, None] * circle, height[:, None, None].expand(-1, len(circle), 1)], -1).flatten(0, 1)
    return Grid(z, torch.full((len(z),), 4 * math.pi / len(z), dtype=torch.float64))


# By support; that of discrete latents is the support of their relaxation.
GRIDS: dict[str, Callable[[int], Grid]] = {
    "numbers between 0 and 1": _between_0_and_1,
    "positive numbers": _positive,
    "real numbers": _line,
    "binary vectors": _between_0_and_1,
    "one-hot vectors": _segment,
    "the simplex": _simplex,
    "the unit sphere": _sphere,
}


def _build(name: str) -> tuple[Posterior, Tensor]:
    with seeded(0, "initialisation"):
        posterior = FAMILIES[name].make().double()
    return posterior, torch.tensor(FAMILIES[name].encoded, dtype=torch.float64, requires_grad=True)


def _noise(distribution: Distribution, count: int, images: int) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, images, distribution.noise_size, dtype=torch.float64, generator=generator)


def _density(distribution: Distribution, z: Tensor) -> Tensor:
    """Return the density of M points, ``(M, N)``, without gradients, and a part at a time, which saves memory."""
    with torch.no_grad():
        parts = [distribution.log_prob(part[:, None]).sum(-1).exp() for part in z.split(PART)]
    return torch.cat(parts)


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
    density = _density(posterior(encoded), grid.z)
    torch.testing.assert_close(grid.weights @ density, torch.ones(len(encoded), dtype=torch.float64), atol=1e-4, rtol=0)


def test_samples_follow_the_density(name: str) -> None:
    posterior, encoded = _build(name)
    distribution = posterior(encoded).detach()
    grid = GRIDS[posterior.support](posterior.size)
    density = _density(distribution, grid.z)
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
    parts = []
    for z, weights in zip(grid.z.split(PART), grid.weights.split(PART), strict=True):
        density = posterior(encoded).log_prob(z[:, None]).sum(-1).exp()
        expectation = (weights * f(_projected(z))) @ density
        parts.append(torch.autograd.grad(expectation.sum(), inputs))
    exact = [torch.stack(part).sum(0) for part in zip(*parts, strict=True)]
    distribution = posterior(encoded)
    noise = _noise(distribution, DRAWS, len(encoded))
    estimates = []
    for part in noise.chunk(40):
        value = f(_projected(posterior(encoded).rsample(part))).mean(0).sum()
        estimates.append(torch.autograd.grad(value, inputs))
    for found, expected in zip(zip(*estimates, strict=True), exact, strict=True):
        each = torch.stack(found)
        error = each.std(0) / math.sqrt(len(each))
        assert ((each.mean(0) - expected).abs() <= 5 * error + FAMILIES[name].tolerance * (1 + expected.abs())).all(), (
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


def test_gradients_are_those_of_differences(name: str) -> None:
    """The first derivatives of samples and densities by latents and parameters, implicit ones included."""
    posterior, encoded = _build(name)
    # The derivative of a mixture's samples is not that with constant noise, which misses the jumps between components.
    samples = name != "mixture"
    weights = {key: weight.detach() for key, weight in posterior.named_parameters()}
    noise = _noise(posterior(encoded), 3, len(encoded))
    z = posterior(encoded.detach()).rsample(noise.flip(0)).detach()

    def values(encoded: Tensor, z: Tensor, *own: Tensor) -> tuple[Tensor, ...]:
        distribution = torch.func.functional_call(posterior, dict(zip(weights, own, strict=True)), encoded)
        drawn = distribution.rsample_and_log_prob(noise) if samples else ()
        return *drawn, distribution.log_prob(z)

    inputs = [tensor.clone().requires_grad_() for tensor in (encoded.detach(), z, *weights.values())]
    assert torch.autograd.gradcheck(values, inputs, fast_mode=True)


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


def test_gradients_of_a_stack(name: str) -> None:
    """The gradients of each model of a stack are those of the model alone."""
    posterior, encoded = _build(name)
    noise = _noise(posterior(encoded), 10, len(encoded))

    def loss(encoded: Tensor) -> Tensor:
        distribution: Distribution = posterior(encoded)
        z, log_prob = distribution.rsample_and_log_prob(noise)
        return z.sin().sum() + log_prob.sum()

    stack = torch.stack([encoded.detach(), encoded.detach().flip(0)])
    found = torch.func.vmap(torch.func.grad(loss))(stack)
    for alone, gradient in zip(stack, found, strict=True):
        alone = alone.clone().requires_grad_()
        torch.testing.assert_close(gradient, *torch.autograd.grad(loss(alone), alone))


def test_extremes(name: str) -> None:
    """Values and gradients are finite at outputs of magnitude 10 and noise of magnitude 5, in single precision."""
    posterior = _build(name)[0].float()
    generator = torch.Generator().manual_seed(2)
    encoded = 10.0 * torch.randint(-1, 2, (100, posterior.outputs), generator=generator)
    noise = 5.0 * torch.randint(-1, 2, (20, 100, posterior.noise_size), generator=generator)
    encoded.requires_grad_()
    inputs = [encoded, *posterior.parameters()]
    distribution, standard = posterior(encoded), posterior.standard(encoded)
    z, log_prob = distribution.rsample_and_log_prob(noise)
    others = {"q of others": distribution.log_prob(z.detach()), "kl": distribution.kl(standard)}
    for term, value in {"z": z, "log q": log_prob, "log p": standard.log_prob(z), **others}.items():
        if value is not None:
            assert value.isfinite().all(), term
        if value is not None and value.requires_grad:
            for gradient in torch.autograd.grad(value.sum(), inputs, retain_graph=True, materialize_grads=True):
                assert gradient.isfinite().all(), term


def test_moved_latents_are_on_the_support(name: str) -> None:
    posterior, encoded = _build(name)
    standard = posterior.standard(encoded)
    values = standard.rsample(_noise(standard, 20, 1))[:, 0, 0]
    moved = posterior.moved(posterior(encoded).mean[0], 0, values)
    if posterior.support == "binary vectors":  # both values
        assert torch.equal(moved[:, 0], torch.tensor([0.0, 1.0], dtype=moved.dtype))
    elif posterior.size == posterior.latent_dim:
        torch.testing.assert_close(moved[:, 0], values)
    else:  # all categories in turn
        assert torch.equal(moved, torch.eye(posterior.size, dtype=moved.dtype))
    assert standard.log_prob(moved).isfinite().all()


def test_single_precision(name: str) -> None:
    posterior, encoded = _build(name)
    noise = _noise(posterior(encoded), 1000, len(encoded))
    z = posterior(encoded).rsample(noise)
    single = posterior.float()(encoded.float()).rsample(noise.float())
    assert single.dtype == torch.float32
    assert single.isfinite().all()
    torch.testing.assert_close(single.double(), z, rtol=2e-3, atol=2e-3)
