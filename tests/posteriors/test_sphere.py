"""Distributions on the sphere in any dimension: densities, quantiles and gradients against exact values."""

import math

import pytest
import torch
from scipy import integrate, special, stats
from torch import Tensor

from vae_lightning.config.errors import InputError
from vae_lightning.posteriors import (
    PowerSpherical,
    PowerSphericalDistribution,
    UniformOnSphere,
    VonMisesFisher,
    VonMisesFisherDistribution,
)
from vae_lightning.posteriors.tangent_normal import TangentNormal, TangentNormalDistribution

DISTRIBUTIONS = [VonMisesFisherDistribution, PowerSphericalDistribution]
POSTERIORS = [VonMisesFisher, PowerSpherical]
KAPPAS = [1e-3, 0.1, 1.0, 10.0, 100.0, 1e4]

dimensions = pytest.mark.parametrize("d", [2, 3, 5, 10, 20, 50])
distributions = pytest.mark.parametrize("family", DISTRIBUTIONS)
posteriors = pytest.mark.parametrize("posterior", POSTERIORS)


def _around(family: type[TangentNormalDistribution], d: int, kappas: list[float]) -> TangentNormalDistribution:
    """Return a distribution for each kappa around the first axis."""
    kappa = torch.tensor(kappas, dtype=torch.float64)[:, None].requires_grad_()
    return family(torch.eye(1, d, dtype=torch.float64).expand(len(kappas), -1), kappa)


def _uniform(d: int) -> UniformOnSphere:
    return UniformOnSphere(torch.eye(1, d, dtype=torch.float64))


def _random(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


def _levels(count: int) -> Tensor:
    """Return the midpoints of equally probable intervals of N(0, 1)."""
    probabilities = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    return math.sqrt(2) * torch.erfinv(2 * probabilities - 1)


def _heights(distribution: TangentNormalDistribution, levels: Tensor) -> Tensor:
    """Return the projection on mu of samples at levels of N(0, 1), ``(len(levels), B)``."""
    noise = torch.ones(len(levels), *distribution.mu.shape, dtype=torch.float64)
    noise[..., 0] = levels[:, None]
    return (distribution.rsample(noise) * distribution.mu).sum(-1)


def _grid(family: type[TangentNormalDistribution], d: int, kappa: float) -> tuple[Tensor, Tensor]:
    """Return angles to mu and their cumulative probabilities, by the trapezoidal rule in the angle."""
    widest = min(math.pi, 20 * math.sqrt(d / kappa))
    theta = torch.linspace(0, widest, 200_001, dtype=torch.float64)
    if family is VonMisesFisherDistribution:
        factor = torch.exp(kappa * (theta.cos() - 1))
    else:
        factor = (theta / 2).cos().abs() ** (2 * kappa)
    cumulative = torch.cumulative_trapezoid(theta.sin().abs() ** (d - 2) * factor, theta)
    return theta, torch.cat([cumulative.new_zeros(1), cumulative]) / cumulative[-1]


@dimensions
def test_von_mises_fisher_is_that_of_scipy(d: int) -> None:
    mu = torch.nn.functional.normalize(_random(d), dim=0)
    z = torch.nn.functional.normalize(mu + 0.3 * _random(20, d), dim=1)
    for kappa in KAPPAS:
        distribution = VonMisesFisherDistribution(mu[None], torch.full((1, 1), kappa, dtype=torch.float64))
        expected = torch.as_tensor(stats.vonmises_fisher(mu.numpy(), kappa).logpdf(z.numpy()))
        torch.testing.assert_close(distribution.log_prob(z)[:, 0], expected, rtol=1e-7, atol=1e-7)
        ratio = special.ive(d / 2, kappa) / special.ive(d / 2 - 1, kappa)
        log_constant = stats.vonmises_fisher(mu.numpy(), kappa).logpdf(mu.numpy()) - kappa
        area = math.log(2 * math.pi ** (d / 2) / math.gamma(d / 2))
        kl = distribution.kl(_uniform(d))
        assert kl is not None
        assert kl.item() == pytest.approx(kappa * ratio + log_constant + area, rel=1e-6, abs=1e-7)


@dimensions
def test_power_spherical_is_that_of_the_paper(d: int) -> None:
    """Equation 7 and the entropy in equation 14."""
    distribution = _around(PowerSphericalDistribution, d, KAPPAS)
    kappa = distribution.kappa
    beta = (d - 1) / 2
    alpha = beta + kappa
    log_constant = (
        -(alpha + beta) * math.log(2) - beta * math.log(math.pi) - alpha.lgamma() + torch.lgamma(alpha + beta)
    )
    z = torch.nn.functional.normalize(distribution.mu[:1] + 0.3 * _random(20, d), dim=1)[:, None]
    expected = log_constant + kappa * torch.log1p(z[..., :1])
    torch.testing.assert_close(distribution.log_prob(z), expected, rtol=1e-7, atol=1e-6)
    mean = math.log(2) + alpha.digamma() - torch.digamma(alpha + beta)
    exact = kappa * mean + log_constant + math.log(2 * math.pi ** (d / 2) / math.gamma(d / 2))
    kl = distribution.kl(_uniform(d))
    assert kl is not None
    torch.testing.assert_close(kl, exact, rtol=1e-6, atol=1e-7)
    found, wanted = (torch.autograd.grad(value.sum(), kappa)[0] for value in (kl, exact))
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-7)


@dimensions
@distributions
@pytest.mark.parametrize("kappa", KAPPAS)
def test_quantiles(family: type[TangentNormalDistribution], d: int, kappa: float) -> None:
    levels = torch.linspace(-4, 4, 33, dtype=torch.float64)
    distribution = _around(family, d, [kappa])
    # The angle from the sine where the cosine has lost precision.
    noise = torch.ones(len(levels), 1, d, dtype=torch.float64)
    noise[..., 0] = levels[:, None]
    z = distribution.rsample(noise)[:, 0].detach()
    found = torch.atan2(z[:, 1:].norm(dim=1), z[:, 0])
    theta, cumulative = _grid(family, d, kappa)
    at = torch.searchsorted(theta, found).clamp(1, len(theta) - 1)
    part = (found - theta[at - 1]) / (theta[at] - theta[at - 1])
    probability = torch.lerp(cumulative[at - 1], cumulative[at], part)
    torch.testing.assert_close(probability, torch.special.ndtr(-levels), rtol=0, atol=1.5e-5)


@dimensions
@distributions
def test_moments_and_their_derivatives(family: type[TangentNormalDistribution], d: int) -> None:
    """E[w], E[w^2] and their derivatives in kappa, from samples at equally probable levels."""
    kappas = [0.1, 1.0, 10.0, 100.0]
    distribution = _around(family, d, kappas)
    w = _heights(distribution, _levels(20_000))
    for power in (1, 2):
        value = w.pow(power).mean(0)
        (derivative,) = torch.autograd.grad(value.sum(), distribution.kappa, retain_graph=True)
        for place, kappa in enumerate(kappas):
            exact = []
            for shifted in (kappa, 0.999 * kappa, 1.001 * kappa):
                theta, cumulative = _grid(family, d, shifted)
                # By parts, from the cumulative distribution.
                slope = power * theta.cos() ** (power - 1) * theta.sin()
                exact.append(theta[-1].cos() ** power + torch.trapezoid(cumulative * slope, theta))
            assert value[place].item() == pytest.approx(exact[0].item(), abs=1e-4)
            change = (exact[2] - exact[1]) / (0.002 * kappa)
            assert derivative[place].item() == pytest.approx(change.item(), rel=2e-3, abs=1e-6)


@dimensions
@distributions
def test_every_quantile_approaches_the_mean_direction(family: type[TangentNormalDistribution], d: int) -> None:
    """A larger kappa increases each quantile of w, the farthest included."""
    distribution = _around(family, d, [*KAPPAS, 1e6])
    w = _heights(distribution, torch.linspace(-7, 7, 141, dtype=torch.float64))
    for level in w:
        (derivative,) = torch.autograd.grad(level.sum(), distribution.kappa, retain_graph=True)
        assert (derivative >= 0).all()


@distributions
@pytest.mark.parametrize("d", [2, 3, 20, 300])
def test_kl_of_hardly_concentrated_distributions(family: type[TangentNormalDistribution], d: int) -> None:
    """It is kappa^2 Var[T] / 2, in single precision too, and never negative."""
    distribution = _around(family, d, [0.0, 1e-6, 1e-4, 1e-3, 2e-3])
    single = family(*(values.detach().float() for values in (distribution.mu, distribution.kappa)))
    for each in (distribution, single):
        kl = each.kl(_uniform(d))
        assert kl is not None
        assert (kl >= 0).all()
        assert kl.dtype == each.kappa.dtype
        if family is VonMisesFisherDistribution:
            variance = 1 / d
        else:
            variance = special.polygamma(1, (d - 1) / 2) - special.polygamma(1, d - 1)
        torch.testing.assert_close(kl, 0.5 * each.kappa.square() * variance, rtol=1e-2, atol=1e-9)


@pytest.mark.parametrize("d", [2, 3, 5, 20])
@pytest.mark.parametrize("first", [-2.0, 0.0, 1e-3, 5.0])
@posteriors
def test_gradient_in_the_direction(posterior: type[TangentNormal], d: int, first: float) -> None:
    """The gradient of E[a.z] and of E[(a.z)^2], which follow from E[w] and E[w^2]."""
    family = posterior(d)
    encoded = _random(1, d + 1)
    encoded[0, 0] = first
    encoded.requires_grad_()
    a = torch.linspace(1, -0.5, d, dtype=torch.float64)
    count = 40_000
    noise = torch.cat([_levels(count)[_random(count).argsort(), None], _random(count, d - 1)], 1)[:, None]
    distribution = family(encoded)
    w = _heights(distribution, _levels(count)).mT
    along = distribution.mu @ a
    square = w.square().mean() * along.square() + (1 - w.square().mean()) / (d - 1) * (
        a.square().sum() - along.square()
    )
    for exact, power in ((w.mean() * along, 1), (square, 2)):
        (expected,) = torch.autograd.grad(exact.sum(), encoded, retain_graph=True)
        each = []
        for part in noise.chunk(40):
            value = (family(encoded).rsample(part) @ a).pow(power).mean()
            each.append(torch.autograd.grad(value, encoded)[0])
        estimates = torch.stack(each)
        error = estimates.std(0) / math.sqrt(len(each))
        assert ((estimates.mean(0) - expected).abs() <= 5 * error + 1e-4).all()


@posteriors
@pytest.mark.parametrize("d", [2, 3, 20, 300])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extremes_are_finite(posterior: type[TangentNormal], d: int, dtype: torch.dtype) -> None:
    family = posterior(d)
    rows = torch.stack([torch.full((d + 1,), value, dtype=dtype) for value in (0.0, 10.0, -10.0, 1e-20, 1e3, -1e3)])
    concentrations = torch.tensor([-100.0, -10.0, 0.0, 10.0, 1e4, 1e6], dtype=dtype)
    encoded = rows.repeat(len(concentrations), 1)
    encoded[:, -1] = concentrations.repeat_interleave(len(rows))
    encoded.requires_grad_()
    noise = torch.ones(7, len(encoded), d, dtype=dtype)
    noise[..., 0] = torch.tensor([-40, -6, -5, 0, 5, 6, 40], dtype=dtype)[:, None]
    distribution = family(encoded)
    z, log_prob = distribution.rsample_and_log_prob(noise)
    kl = distribution.kl(family.standard(encoded))
    assert kl is not None
    assert (kl >= 0).all()
    torch.testing.assert_close(z.norm(dim=-1), torch.ones_like(z[..., 0]), rtol=0, atol=1e-5)
    assert all(value.isfinite().all() for value in (z, log_prob, kl, distribution.log_prob(-distribution.mu)))
    for value in (z[..., 0].sum(), log_prob.sum(), kl.sum(), distribution.log_prob(z.detach()).sum()):
        (gradient,) = torch.autograd.grad(value, encoded, retain_graph=True)
        assert gradient.isfinite().all()


def test_the_standard_is_uniform() -> None:
    """Its density is one over the area, and a coordinate of its samples has the density of the tangent-normal w."""
    z = _uniform(4).rsample(_random(100_000, 1, 4))
    torch.testing.assert_close(z.norm(dim=-1), torch.ones(100_000, 1, dtype=torch.float64))
    torch.testing.assert_close(
        _uniform(4).log_prob(z), torch.full((100_000, 1, 1), -math.log(2 * math.pi**2), dtype=torch.float64)
    )
    below, _ = integrate.quad(lambda w: math.sqrt(1 - w**2) * 2 / math.pi, -1, -0.4)
    for axis in range(4):
        assert (z[..., axis] < -0.4).double().mean().item() == pytest.approx(below, abs=6e-3)


@posteriors
def test_moved_stays_on_the_sphere(posterior: type[TangentNormal]) -> None:
    family = posterior(3)
    mean = torch.tensor([0.6, 0.0, 0.8])
    z = family.moved(mean, 0, torch.tensor([-2.0, -0.6, 0.6]))
    torch.testing.assert_close(z, torch.tensor([[-1.0, 0.0, 0.0], [-0.6, 0.0, 0.8], [0.6, 0.0, 0.8]]))
    pole = family.moved(torch.tensor([1.0, 0.0, 0.0]), 0, torch.tensor([0.0]))
    torch.testing.assert_close(pole, torch.tensor([[0.0, math.sqrt(0.5), math.sqrt(0.5)]]))


@posteriors
def test_one_dimension_is_refused(posterior: type[TangentNormal]) -> None:
    with pytest.raises(InputError, match=r"^latent_dim=1: must be at least 2 for posterior="):
        posterior(1)
