import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal, kl_divergence

from vae_lightning import VAE
from vae_lightning.evaluation import kl_parts as module
from vae_lightning.evaluation.kl_parts import KLParts, kl_parts
from vae_lightning.posteriors import GaussianDistribution, StandardNormal, gaussian_kl
from vae_lightning.posteriors.statistics import PosteriorMoments, active_units, mean_kl
from vae_lightning.streams import generator


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=generator(seed, "test"), dtype=torch.float64)


def gaussian_mean_kl(mu: Tensor, logvar: Tensor) -> Tensor:
    prior = StandardNormal.of(mu, mu.shape[-1])
    return mean_kl(GaussianDistribution(mu, logvar), prior, torch.full_like(mu, math.nan))  # it needs no noise


def gaussian_parts(mu: Tensor, logvar: Tensor, noise: Tensor) -> KLParts:
    return kl_parts(GaussianDistribution(mu, logvar), StandardNormal.of(mu, mu.shape[-1]), noise)


def test_the_dimensions_kl_add_up_to_the_elbos(images: Tensor) -> None:
    vae = VAE(latent_dim=5)
    with torch.no_grad():
        mu, logvar = vae.encode(images)
        elbo = vae.elbo(images, torch.zeros_like(mu))
    found = gaussian_mean_kl(mu, logvar)
    assert found.shape == (5,)
    assert float(found.sum()) == pytest.approx(float(elbo.kl.mean()), rel=1e-5)
    only_first = gaussian_mean_kl(torch.tensor([[2.0, 0.0], [0.0, 0.0]]), torch.zeros(2, 2))
    torch.testing.assert_close(only_first, torch.tensor([1.0, 0.0], dtype=torch.float64))


def test_a_unit_is_active_whose_mean_varies_over_images() -> None:
    # Variances over images of 0, 0.005, 0.02 and 1; a mean that is far from 0 but the same for all is not active.
    deviations = torch.tensor([0.0, 0.005, 0.02, 1.0], dtype=torch.float64).sqrt()
    mu = normal(5000, 4) * deviations + torch.tensor([7.0, 0, 0, 0])
    assert active_units(mu, 4).tolist() == [False, False, True, True]
    assert active_units(mu, 4, threshold=0.1).tolist() == [False, False, False, True]
    assert active_units(torch.zeros(10, 3), 3).sum() == 0


@pytest.mark.parametrize("sizes", [[101], [1, 99, 1], [50, 0, 51], [1] * 101])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_batches_of_any_size_tell_what_all_images_in_one_do(sizes: list[int], dtype: torch.dtype) -> None:
    # Of two models; means far away, and variances on either side of the threshold.
    spread = torch.tensor([0.0, 0.05, 0.2, 3.0])
    mu = (normal(2, 101, 4) * spread + torch.tensor([0.0, 5.0, -5.0, 0.5])).to(dtype)
    logvar = normal(2, 101, 4, seed=1).to(dtype)
    moments = PosteriorMoments(4)
    for part_mu, part_logvar in zip(mu.split(sizes, 1), logvar.split(sizes, 1), strict=True):
        moments.add(part_mu, gaussian_kl(part_mu, part_logvar))
    kl, active = moments.result()
    near = {torch.bfloat16: 0.02, torch.float32: 1e-5, torch.float64: 1e-12}[dtype]
    for k in range(2):
        torch.testing.assert_close(kl[k], gaussian_mean_kl(mu[k], logvar[k]), rtol=near, atol=near)
        assert active[k].tolist() == active_units(mu[k], 4).tolist()
    if dtype is not torch.bfloat16:
        assert active.tolist() == [[False, False, True, True]] * 2


def test_a_collapsed_posterior_tells_nothing_of_the_image() -> None:
    mu, logvar = torch.full((300, 4), 0.5), torch.full((300, 4), -1.0)
    parts = gaussian_parts(mu, logvar, normal(300, 4))
    assert parts.mutual_information == pytest.approx(0, abs=1e-10)
    assert parts.marginal_kl == pytest.approx(float(gaussian_mean_kl(mu, logvar).sum()), rel=1e-10)
    assert gaussian_parts(torch.zeros(50, 2), torch.zeros(50, 2), normal(50, 2)) == pytest.approx((0, 0), abs=1e-12)


@pytest.mark.parametrize("logvar", [-4.0, -40.0])
def test_well_separated_posteriors_tell_images_apart(logvar: float) -> None:
    mu = 100 * normal(300, 4)
    parts = gaussian_parts(mu, torch.full((300, 4), logvar), normal(300, 4, seed=1))
    assert parts.mutual_information == pytest.approx(math.log(300), abs=1e-6)


def test_the_mutual_information_is_that_of_the_mixture_and_never_above_log_n() -> None:
    for width in (0.1, 1.0, 5.0):
        mu, logvar, noise = width * normal(50, 4), normal(50, 4, seed=1), normal(50, 4, seed=2)
        each = Independent(Normal(mu, (logvar / 2).exp()), 1)
        mixture = MixtureSameFamily(Categorical(torch.ones(50, dtype=torch.float64)), each)
        z = mu + (logvar / 2).exp() * noise
        parts = gaussian_parts(mu, logvar, noise)
        assert parts.mutual_information == pytest.approx(
            float((each.log_prob(z) - mixture.log_prob(z)).mean()), rel=1e-9
        )
        assert parts.mutual_information <= math.log(50)


def test_the_parts_are_those_that_integration_finds_and_add_up_to_the_kl() -> None:
    mu, logvar = torch.tensor([-1.5, 0.0, 0.3, 2.0], dtype=torch.float64), torch.tensor([-2.0, 0.0, -1.0, -3.0])
    each = Normal(mu, (logvar / 2).exp())
    grid = torch.linspace(-12, 12, 48_001, dtype=torch.float64)
    density = each.log_prob(grid[:, None]).exp().mean(1)
    prior = Normal(torch.zeros_like(mu[0]), torch.ones_like(mu[0]))
    marginal_kl = float(torch.trapezoid(density * (density.clamp(min=1e-300).log() - prior.log_prob(grid)), grid))
    information = float(kl_divergence(each, prior).mean()) - marginal_kl
    # Many images of each of the four, again and again.
    means, logvars = mu.repeat(300)[:, None], logvar.repeat(300)[:, None]
    found = [gaussian_parts(means, logvars, normal(1200, 1, seed=seed)) for seed in range(20)]
    for parts in found:
        assert sum(parts) == pytest.approx(float(gaussian_mean_kl(means, logvars).sum()), rel=1e-12)
    for place, expected in enumerate((information, marginal_kl)):
        values = torch.tensor([parts[place] for parts in found])
        error = float(values.std()) / 20**0.5
        assert error < 0.01
        assert abs(float(values.mean()) - expected) < 4 * error


def test_blocks_do_not_change_the_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    mu, logvar, noise = normal(101, 3), normal(101, 3, seed=1), normal(101, 3, seed=2)
    expected = gaussian_parts(mu, logvar, noise)
    for block in (1, 250, 10_000):
        monkeypatch.setattr(module, "BLOCK", block)
        assert gaussian_parts(mu, logvar, noise) == pytest.approx(expected, rel=1e-12)


def test_the_samples_of_some_images_tell_of_the_mixture_over_all() -> None:
    mu, logvar, noise = normal(60, 3), normal(60, 3, seed=1), normal(60, 3, seed=2)
    posterior, prior = GaussianDistribution(mu, logvar), StandardNormal.of(mu, 3)
    whole, rows = kl_parts(posterior, prior, noise), torch.arange(60)
    assert kl_parts(posterior, prior, noise, rows) == whole
    parts = [kl_parts(posterior, prior, noise, part) for part in rows.split(20)]
    assert sum(part.mutual_information for part in parts) / 3 == pytest.approx(whole.mutual_information, rel=1e-12)
    for part in parts:
        assert part.mutual_information != pytest.approx(whole.mutual_information, rel=1e-6)
        assert sum(part) == pytest.approx(sum(whole), rel=1e-12)  # the KL is that of all images
