"""The posteriors that are flows, beyond what every family has to fulfil."""

from collections.abc import Callable

import pytest
import torch

from vae_lightning import InputError
from vae_lightning.posteriors import IAF, Planar, Spline, Sylvester
from vae_lightning.posteriors.gaussian import RealPosterior
from vae_lightning.posteriors.tanh_flow import tanh_root
from vae_lightning.streams import generator, seeded

FLOWS: dict[str, Callable[[], RealPosterior]] = {
    "planar": lambda: Planar(latent_dim=5, layers=3),
    "sylvester": lambda: Sylvester(latent_dim=5, layers=3, rank=3),
    "iaf": lambda: IAF(latent_dim=5, layers=3, hidden=7),
    "spline": lambda: Spline(latent_dim=5, layers=3, hidden=7, bins=4),
}


@pytest.mark.parametrize("name", FLOWS)
def test_determinants_and_inverses_in_more_dimensions(name: str) -> None:
    with seeded(0, "initialisation"):
        posterior = FLOWS[name]().double()
    with torch.no_grad():
        for parameter in posterior.parameters():
            parameter.mul_(5)
    source = generator(0, "posterior")
    distribution = posterior(torch.randn(1, posterior.outputs, dtype=torch.float64, generator=source))
    x = 2 * torch.randn(20, 1, 5, dtype=torch.float64, generator=source)
    y, log_det = distribution.flow(x)
    for k in range(len(x)):
        jacobian = torch.autograd.functional.jacobian(lambda x: distribution.flow(x)[0], x[k]).reshape(5, 5)
        assert torch.linalg.det(jacobian) > 0
        torch.testing.assert_close(log_det[k, 0, 0], torch.linalg.slogdet(jacobian).logabsdet)
        assert (jacobian.abs() > 1e-9).sum() > 15  # no variable is left out
    found, found_log_det = distribution.inverse(y)
    torch.testing.assert_close(found, x)
    torch.testing.assert_close(found_log_det, log_det)


@pytest.mark.parametrize("name", FLOWS)
def test_flows_start_near_the_identity(name: str) -> None:
    with seeded(0, "initialisation"):
        posterior = FLOWS[name]()
    source = generator(0, "posterior")
    outputs = 0.1 * torch.randn(100, posterior.outputs, generator=source)
    noise = torch.randn(100, 5, generator=source)
    assert (posterior(outputs).flow(noise)[0] - noise).abs().mean() < 0.2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_tanh_equation_is_solved(dtype: torch.dtype) -> None:
    kappa = torch.tensor([-0.95, -0.5, 0.0, 1.0, 30.0, 1e4, 1e6], dtype=dtype)
    s = torch.tensor([-1e4, -30.0, -4.0, -0.5, -1e-3, 0.0, 1e-6, 0.1, 1.0, 3.0, 8.0, 200.0], dtype=dtype)[:, None]
    r = s + kappa * s.tanh()
    found = tanh_root(r, kappa)
    residual = found + kappa * found.tanh() - r
    assert (residual.abs() <= 8 * torch.finfo(dtype).eps * (1 + r.abs())).all()


@pytest.mark.parametrize("name", ["planar", "sylvester"])
def test_the_steepest_compression_is_finite(name: str) -> None:
    """The largest parameters of opposite signs, with biases of 0, at the point where tanh has its largest slope."""
    posterior = FLOWS[name]()
    encoded = 30 * torch.ones(1, posterior.outputs)
    encoded[:, :10] = 0
    encoded[:, -18:] = -30
    encoded[:, -9 if name == "sylvester" else -3 :] = 0
    z, log_prob = posterior(encoded).rsample_and_log_prob(torch.zeros(1, 5))
    assert log_prob.isfinite().all()
    assert log_prob > 2
    torch.testing.assert_close(posterior(encoded).log_prob(z), log_prob, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["iaf", "spline"])
def test_weights_of_a_stack(name: str) -> None:
    """A posterior whose weights have a dimension for the models equals each model."""
    posteriors = []
    for seed in range(2):
        with seeded(seed, "initialisation"):
            posteriors.append(FLOWS[name]().double())
    stacked = {
        key: torch.stack([posterior.get_parameter(key).detach() for posterior in posteriors])
        for key, _ in posteriors[0].named_parameters()
    }
    source = generator(0, "posterior")
    encoded = torch.randn(2, 4, posteriors[0].outputs, dtype=torch.float64, generator=source)
    noise = torch.randn(6, 2, 4, 5, dtype=torch.float64, generator=source)
    distribution = torch.func.functional_call(posteriors[0], stacked, encoded)
    z, log_prob = distribution.rsample_and_log_prob(noise)
    torch.testing.assert_close(distribution.log_prob(z), log_prob)
    for k, posterior in enumerate(posteriors):
        own, own_log_prob = posterior(encoded[k]).rsample_and_log_prob(noise[:, k])
        torch.testing.assert_close(z[:, k], own)
        torch.testing.assert_close(log_prob[:, k], own_log_prob)


def test_exports_leave_out_the_weights() -> None:
    posterior = IAF(latent_dim=5)
    named = posterior(torch.zeros(3, posterior.outputs)).named()
    assert {name: tensor.shape[0] for name, tensor in named.items()} == dict.fromkeys(
        ("mean", "mu", "logvar", "context"), 3
    )


def test_a_missing_extra_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vae_lightning.config.extras.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"^Spline: needs an extra: pip install 'vae-lightning\[zuko\]'$"):
        Spline(latent_dim=2)


def test_arguments_follow_their_rules() -> None:
    with pytest.raises(InputError, match=r"^layers=0: must be a whole number of at least 1$"):
        Planar(latent_dim=2, layers=0)
    assert Sylvester(latent_dim=2, rank=4).rank == 2
