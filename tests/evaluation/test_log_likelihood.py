"""On a model whose log-likelihood is known, and on digits."""

import logging
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal, Normal

import vae_lightning.evaluation.log_likelihood as module
from vae_lightning import VAE, InputError
from vae_lightning.evaluation.log_likelihood import log_likelihood
from vae_lightning.posteriors import GaussianDistribution
from vae_lightning.streams import NormalStream, generator

DEVIATION = 0.7


class Linear(nn.Module):
    """An encoder to mu = weight (x - shift) + error and a variance that is the same for all images."""

    def __init__(self, weight: Tensor, shift: Tensor, error: float, variance: Tensor) -> None:
        super().__init__()
        self.weight, self.shift, self.error, self.variance = weight, shift, error, variance

    def forward(self, images: Tensor) -> Tensor:
        mu = (images.flatten(-3) - self.shift) @ self.weight.T + self.error
        return torch.cat([mu, self.variance.log().expand_as(mu)], -1)


class LinearGaussian(VAE):
    """x = W z + b + N(0, DEVIATION^2), so that x ~ N(b, W W' + DEVIATION^2 I).

    The columns of W are orthogonal, so the exact posterior has independent dimensions and can be encoded; ``error`` is
    added to its means and ``widening`` multiplies its variances.
    """

    def __init__(self, error: float = 0.0, widening: float = 1.0, scale: float = 1.0) -> None:
        super().__init__(latent_dim=3, widths=[4], image_shape=[1, 2, 4])
        source = generator(0, "test")
        columns, _ = torch.linalg.qr(torch.randn(8, 3, generator=source, dtype=torch.float64))
        self.weight = scale * columns * torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
        self.shift = torch.randn(8, generator=source, dtype=torch.float64)
        linear = nn.Linear(3, 8)
        linear.weight, linear.bias = nn.Parameter(self.weight), nn.Parameter(self.shift)
        self.decoder = nn.Sequential(linear, nn.Unflatten(-1, self.image_shape))
        variance = 1 / (1 + self.weight.square().sum(0) / DEVIATION**2)
        exact = variance[:, None] * self.weight.T / DEVIATION**2
        self.encoder = Linear(exact, self.shift, error, widening * variance)

    def nll(self, z: Tensor, images: Tensor) -> Tensor:
        log_p: Tensor = Normal(self.decode(z), DEVIATION, validate_args=False).log_prob(images).flatten(-3).sum(-1)
        return -log_p

    def log_p(self, images: Tensor) -> Tensor:
        covariance = self.weight @ self.weight.T + DEVIATION**2 * torch.eye(8, dtype=torch.float64)
        log_p: Tensor = MultivariateNormal(self.shift, covariance).log_prob(images.flatten(-3))
        return log_p

    def draw(self, count: int) -> Tensor:
        source = generator(1, "test")
        z, noise = (torch.randn(count, size, generator=source, dtype=torch.float64) for size in (3, 8))
        images: Tensor = (z @ self.weight.T + self.shift + DEVIATION * noise).unflatten(-1, self.image_shape)
        return images


def test_with_the_exact_posterior_one_sample_is_enough() -> None:
    vae = LinearGaussian()
    x = vae.draw(20)
    for samples in (1, 10):
        found = log_likelihood(vae, x, samples)
        torch.testing.assert_close(found.estimate, vae.log_p(x), rtol=1e-10, atol=0)
        torch.testing.assert_close(found.effective_samples, torch.full_like(found.estimate, samples))
    assert found.standard_error.max() < 1e-6


def test_it_converges_to_the_log_likelihood() -> None:
    vae = LinearGaussian(error=0.2, widening=1.5)
    x = vae.draw(20)
    found = log_likelihood(vae, x, 20_000)
    assert found.standard_error.max() < 0.02
    assert ((found.estimate - vae.log_p(x)).abs() < 4 * found.standard_error).all()


def test_it_rises_with_the_samples_from_the_elbo_to_the_log_likelihood() -> None:
    vae = LinearGaussian(error=0.3, widening=1.5)
    # Each copy has noise of its own, so they are repeats.
    x = vae.draw(1).expand(2000, -1, -1, -1)
    results = {samples: log_likelihood(vae, x, samples, chunk_size=20_000) for samples in (1, 5, 50)}
    means = {samples: found.mean() for samples, found in results.items()}
    for fewer, more in ((1, 5), (5, 50)):
        spread = math.hypot(means[fewer][1], means[more][1])
        assert means[more][0] - means[fewer][0] > 4 * spread
    truth = float(vae.log_p(x[0]))
    assert means[50][0] < truth + 4 * means[50][1]
    # The bound in closed form: log p(x) minus the KL of q from the exact posterior.
    exact = LinearGaussian().encode(x[0])
    q = vae.encode(x[0])
    gap = torch.distributions.kl_divergence(
        Normal(q.mu, (q.logvar / 2).exp()), Normal(exact.mu, (exact.logvar / 2).exp())
    ).sum()
    assert abs(means[1][0] - (truth - float(gap))) < 4 * means[1][1]
    for found in results.values():
        assert (found.elbo <= found.estimate + 1e-12).all()
        assert abs(found.elbo.mean() - (truth - float(gap))) < 4 * found.elbo.std() / len(x) ** 0.5
    # To first order, the bias.
    assert results[50].bias() < 0
    assert means[50][0] - truth == pytest.approx(results[50].bias(), abs=4 * means[50][1])


def test_the_standard_error_is_the_spread_over_repeats() -> None:
    vae = LinearGaussian(error=0.2, widening=1.5)
    repeats = log_likelihood(vae, vae.draw(1).expand(1000, -1, -1, -1), 200, chunk_size=20_000)
    # Of 1,000 repeats the spread has a standard error of 2.2 per cent.
    assert float(repeats.standard_error.mean()) == pytest.approx(float(repeats.estimate.std()), rel=0.1)
    assert repeats.mean()[1] == pytest.approx(float(repeats.estimate.std()) / 1000**0.5)
    assert log_likelihood(vae, vae.draw(2), 1).standard_error.isnan().all()


@pytest.mark.parametrize("scale", [1.0, 300.0])  # log-weights of about -10, and of -100,000
def test_it_is_the_logarithm_of_the_mean_weight(scale: float) -> None:
    vae = LinearGaussian(error=0.1 * scale, widening=1.5, scale=scale)
    x = vae.draw(4)
    found = log_likelihood(vae, x, 300, seed=5, chunk_size=70)
    for row in range(4):
        noise = NormalStream(generator(5, "likelihood", row), 3, dtype=torch.float64).draw(300)
        mu, logvar = vae.encode(x[row])
        q = Normal(mu, (logvar / 2).exp())
        z = mu + (logvar / 2).exp() * noise
        pixels = Normal(vae.decode(z), DEVIATION).log_prob(x[row]).sum((1, 2, 3))
        log_weights = pixels + (Normal(0.0, 1.0).log_prob(z) - q.log_prob(z)).sum(-1)
        torch.testing.assert_close(found.estimate[row], log_weights.logsumexp(0) - math.log(300), rtol=1e-9, atol=0)
        torch.testing.assert_close(found.elbo[row], log_weights.mean(), rtol=1e-9, atol=0)
        shares = log_weights.softmax(0)
        torch.testing.assert_close(found.effective_samples[row], 1 / shares.square().sum())


def test_neither_chunks_nor_the_other_images_nor_k_change_an_images_noise(images: Tensor) -> None:
    exact, digits = LinearGaussian(error=0.2), VAE(latent_dim=2)
    cases: list[tuple[VAE, Tensor, float]] = [(exact, exact.draw(10), 1e-10), (digits, images[:10], 1e-5)]
    for vae, x, tolerance in cases:
        expected = log_likelihood(vae, x, 60).estimate
        for chunk_size in (7, 60, 3000, 100_000):
            found = log_likelihood(vae, x, 60, chunk_size=chunk_size).estimate
            torch.testing.assert_close(found, expected, rtol=tolerance, atol=0)
        torch.testing.assert_close(log_likelihood(vae, x[:3], 60).estimate, expected[:3], rtol=tolerance, atol=0)
        assert not torch.allclose(log_likelihood(vae, x, 60, seed=1).estimate, expected, rtol=tolerance, atol=0)


def test_products_in_bfloat16_add_less_than_the_samples_own_error(images: Tensor) -> None:
    vae = VAE(latent_dim=2)
    expected = log_likelihood(vae, images[:20], 200)
    with torch.autocast("cpu", torch.bfloat16):
        found = log_likelihood(vae, images[:20], 200)
    assert not torch.equal(found.estimate, expected.estimate)
    error = (found.estimate - expected.estimate).square().mean().sqrt()
    assert error < 0.2 * expected.standard_error.square().mean().sqrt()


def test_only_the_networks_outputs_have_the_precision_of_products(images: Tensor) -> None:
    vae, x = VAE(latent_dim=20), images[:1]
    with torch.autocast("cpu", torch.bfloat16):
        found = log_likelihood(vae, x, 10)
        with torch.no_grad():
            q = GaussianDistribution(*(output.float() for output in vae.encode(x)))
            z, log_q = q.rsample_and_log_prob(NormalStream(generator(0, "likelihood", 0), 20).draw(10)[:, None])
            log_weights = (Normal(0.0, 1.0).log_prob(z) - log_q).sum(-1) - vae.nll(z, x)
    torch.testing.assert_close(found.elbo, log_weights.double().mean(0), rtol=1e-7, atol=0)


def test_chunks_bound_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    vae, sizes = LinearGaussian(), []
    nll = LinearGaussian.nll

    def watched(self: LinearGaussian, z: Tensor, images: Tensor) -> Tensor:
        sizes.append(z.shape[:-1].numel())
        return nll(self, z, images)

    monkeypatch.setattr(LinearGaussian, "nll", watched)
    for samples, chunk_size in ((100, 30), (5, 4000), (5000, 4000)):
        log_likelihood(vae, vae.draw(6), samples, chunk_size=chunk_size)
        assert max(sizes) <= chunk_size
        assert sum(sizes) == 6 * samples
        sizes.clear()


def test_it_is_in_nats_per_image_and_negative_for_images(images: Tensor) -> None:
    vae = VAE(latent_dim=2)
    for layer in vae.modules():
        if isinstance(layer, nn.Linear):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
    # The posterior is the prior, and every pixel has a probability of one half.
    found = log_likelihood(vae, images, 10)
    expected = torch.full((100,), -784 * math.log(2), dtype=torch.float64)
    torch.testing.assert_close(found.estimate, expected, rtol=1e-6, atol=0)
    untrained = VAE()
    loss = untrained.elbo(images, torch.zeros(100, 20)).loss.mean().detach()
    assert log_likelihood(untrained, images, 10).mean()[0] == pytest.approx(-float(loss), rel=0.02)


def test_it_leaves_model_and_global_generator_as_they_were(images: Tensor) -> None:
    vae = VAE(latent_dim=2)
    vae.train()
    vae.decoder.eval()
    modes = [part.training for part in vae.modules()]
    state = torch.get_rng_state()
    assert not log_likelihood(vae, images[:2], 3).estimate.requires_grad
    assert [part.training for part in vae.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)
    # In eval mode dropout lets everything through.
    expected = log_likelihood(vae, images[:2], 3).estimate
    vae.decoder = nn.Sequential(nn.Dropout(0.9), vae.decoder).train()
    assert torch.equal(log_likelihood(vae, images[:2], 3).estimate, expected)


def test_how_long_it_takes_is_said_once_and_no_bar_is_drawn_in_a_pipe(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "TIMED_SECONDS", 0.0)
    caplog.set_level(logging.INFO)
    vae = LinearGaussian()
    log_likelihood(vae, vae.draw(4), 50, chunk_size=20)
    assert caplog.messages == []
    log_likelihood(vae, vae.draw(4), 50, chunk_size=20, progress=True)
    (said,) = caplog.messages
    assert said == "log p(x): 4 images, 50 samples each: about 0 s"
    assert "sample/s" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("argument", [{"samples": 0}, {"seed": -1}, {"chunk_size": 0}], ids=str)
def test_bad_arguments_are_refused(argument: dict[str, Any]) -> None:
    vae = LinearGaussian()
    with pytest.raises(InputError, match=f"{next(iter(argument))}=.*: must be a whole number"):
        log_likelihood(vae, vae.draw(2), **argument)


def test_what_is_not_finite_is_told_by_the_images_place() -> None:
    vae = LinearGaussian()
    x = vae.draw(3)
    x[1, 0, 0, 0] = math.inf
    with pytest.raises(FloatingPointError, match="the log-likelihood of image 1 is"):
        log_likelihood(vae, x, 10)
