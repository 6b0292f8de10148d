"""The quantile of the Gamma distribution against scipy, and its derivative against differences in 40 digits."""

import pytest
import torch
from torch import Tensor

from vae_lightning.posteriors.gamma_quantile import LEAST_CONCENTRATION, concentrations, log_gamma_quantile

mpmath = pytest.importorskip("mpmath")
special = pytest.importorskip("scipy.special")

NOISE = torch.linspace(-6, 6, 25, dtype=torch.float64)


def _quantile(concentration: float) -> tuple[Tensor, Tensor]:
    a = torch.full_like(NOISE, concentration).requires_grad_()
    y = log_gamma_quantile(a, NOISE)
    return y.detach(), torch.autograd.grad(y.sum(), a)[0]


@pytest.mark.parametrize("concentration", torch.logspace(-1.39, 4, 31, dtype=torch.float64).tolist())
def test_values(concentration: float) -> None:
    y, _ = _quantile(concentration)
    u = torch.special.ndtr(-NOISE.abs()).numpy()
    below, above = special.gammaincinv(concentration, u), special.gammainccinv(concentration, u)
    z = torch.where(NOISE < 0, torch.as_tensor(below), torch.as_tensor(above))
    torch.testing.assert_close(y, z.log(), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("concentration", [0.05, 0.2, 0.5, 1.0, 3.0, 19.0, 21.0, 200.0, 1e4])
def test_derivative(concentration: float) -> None:
    y, derivative = _quantile(concentration)
    assert derivative.tolist() == pytest.approx([*map(_exact_derivative, [concentration] * len(y), y, NOISE)], rel=1e-6)


def _exact_derivative(concentration: float, y: Tensor, noise: Tensor) -> float:
    with mpmath.workdps(40):
        a, h, z = mpmath.mpf(concentration), mpmath.mpf(10) ** -14, mpmath.exp(y.item())
        # From infinity down to z, the integral is that from 0 to z minus 1: the same derivative, without cancellation.
        lower, upper = (0, z) if noise < 0 else (mpmath.inf, z)
        above, below = (mpmath.gammainc(a + step, lower, upper, regularized=True) for step in (h, -h))
        return float((below - above) / (2 * h) / mpmath.exp(a * y.item() - z - mpmath.loggamma(a)))


def test_grows_with_the_noise() -> None:
    noise = torch.linspace(-6, 6, 20_001, dtype=torch.float64)
    y = log_gamma_quantile(torch.logspace(-1.39, 4, 13, dtype=torch.float64)[:, None], noise)
    assert (y.diff() > 0).all()


def test_concentrations() -> None:
    found = concentrations(torch.tensor([-100.0, 0.0, 100.0]))
    torch.testing.assert_close(found, torch.tensor([LEAST_CONCENTRATION, 1.0, 100.40338]))
