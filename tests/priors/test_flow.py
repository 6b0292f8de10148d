"""The flow prior: density, samples and gradients, standalone."""

import math

import torch
from torch import Tensor

from vae_lightning.posteriors import StandardNormal
from vae_lightning.priors import Flow
from vae_lightning.streams import generator, seeded


def _prior(spread: float = 0.3) -> Flow:
    with seeded(0, "initialisation"):
        prior = Flow(latent_dim=2, image_shape=(1, 28, 28), layers=3, hidden=5).double()
        with torch.no_grad():
            for parameter in prior.parameters():  # far from the identity, at which a flow starts
                parameter.add_(spread * torch.randn_like(parameter))
    return prior


def _grid() -> tuple[Tensor, Tensor]:
    """Return points of the plane, and their weights in an integral."""
    t = torch.linspace(-math.asinh(60), math.asinh(60), 1001, dtype=torch.float64)
    z, weights = torch.sinh(t), torch.cosh(t) * (t[1] - t[0])
    return torch.cartesian_prod(z, z), torch.cartesian_prod(weights, weights).prod(1)


def test_the_density_integrates_to_one_and_samples_follow_it() -> None:
    distribution = _prior()(None, torch.zeros(1, dtype=torch.float64)).detach()
    z, weights = _grid()
    probabilities = weights * distribution.log_prob(z)[:, 0].exp()
    torch.testing.assert_close(probabilities.sum().item(), 1.0, atol=1e-4, rtol=0)
    noise = torch.randn(200_000, 2, dtype=torch.float64, generator=generator(0, "prior"))
    samples = distribution.rsample(noise)
    for direction in ((1.0, 0.0), (0.0, 1.0), (1.0, -0.5)):
        along = torch.tensor(direction, dtype=torch.float64)
        x = samples @ along
        for level in torch.quantile(x[:10_000], torch.linspace(0.1, 0.9, 5, dtype=torch.float64)):
            # Smooth steps, because a sum over a grid is not precise for others.
            expected = probabilities @ torch.sigmoid(10 * (level - z @ along))
            torch.testing.assert_close(torch.sigmoid(10 * (level - x)).mean(), expected, atol=4e-3, rtol=0)


def test_density_of_own_samples() -> None:
    distribution = _prior()(None, torch.zeros(1, dtype=torch.float64))
    noise = torch.randn(100, 4, 2, dtype=torch.float64, generator=generator(0, "prior"))
    z, log_prob = distribution.rsample_and_log_prob(noise)
    assert z.shape == (100, 4, 2)
    torch.testing.assert_close(log_prob, distribution.log_prob(z))
    assert distribution.log_prob_of_each(z[0]).shape == (4, 1)


def test_a_new_prior_is_near_the_standard_normal() -> None:
    prior = Flow(latent_dim=20, image_shape=(1, 28, 28))
    z = torch.randn(1000, 20, generator=generator(0, "prior"))
    ratio = prior(None, z).log_prob(z).sum(-1) - StandardNormal.of(z, 20).log_prob(z).sum(-1)
    assert ratio.abs().mean() < 2


def test_gradients_reach_every_parameter() -> None:
    for loss in (lambda p, x: p.log_prob(x).mean(), lambda p, x: p.rsample(x).square().mean()):
        prior = Flow(latent_dim=5, image_shape=(1, 28, 28))
        loss(prior(None, torch.zeros(1)), torch.randn(50, 5, generator=generator(0, "prior"))).backward()
        for parameter in prior.parameters():
            assert parameter.grad is not None
            assert parameter.grad.isfinite().all()
            assert (parameter.grad != 0).any()


def test_stacked_priors_with_own_weights() -> None:
    priors = [_prior(0.3), _prior(0.6)]
    weights = {
        name: torch.stack([prior.get_parameter(name).detach() for prior in priors])
        for name, _ in priors[0].named_parameters()
    }
    z = torch.randn(7, 2, 4, 2, dtype=torch.float64, generator=generator(0, "prior"))
    stacked = torch.func.functional_call(priors[0], weights, (None, z))
    for method in ("log_prob", "rsample"):
        for k, prior in enumerate(priors):
            torch.testing.assert_close(getattr(stacked, method)(z)[:, k], getattr(prior(None, z), method)(z[:, k]))
