"""The Gaussian posterior against torch.distributions, and priors of one's own."""

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from vae_lightning import VAE, InputError
from vae_lightning.models.draw import draw
from vae_lightning.posteriors import Distribution, Gaussian, GaussianDistribution, LaplaceDistribution
from vae_lightning.priors import Prior
from vae_lightning.priors.prior import Encoding


class Wide(Prior):
    """Laplace with twice the standard scale."""

    def forward(self, model: Encoding, like: Tensor) -> Distribution:
        zeros = like.new_zeros(1, self.latent_dim)
        return LaplaceDistribution(zeros, zeros + math.log(2))


class Binary(Wide):
    support = "binary vectors"


def test_latents_density_and_kl_are_those_of_torch() -> None:
    source = torch.Generator().manual_seed(0)
    encoded, other, noise, z = (torch.randn(5, size, generator=source, dtype=torch.float64) for size in (6, 6, 3, 3))
    posterior = Gaussian(latent_dim=3)(encoded)
    reference = Normal(encoded[:, :3], torch.exp(encoded[:, 3:] / 2))
    torch.testing.assert_close(posterior.mean, reference.mean)
    torch.testing.assert_close(posterior.rsample(noise), reference.loc + reference.scale * noise)
    torch.testing.assert_close(posterior.log_prob(z), reference.log_prob(z))
    torch.testing.assert_close(
        posterior.log_prob_of_each(z),
        Normal(reference.loc[None], reference.scale[None]).log_prob(z[:, None]).sum(-1),
    )
    kl = posterior.kl(GaussianDistribution(*other.chunk(2, -1)))
    torch.testing.assert_close(kl, kl_divergence(reference, Normal(other[:, :3], torch.exp(other[:, 3:] / 2))))


def test_a_kl_that_is_not_known_is_the_mean_log_ratio_of_the_densities() -> None:
    vae = VAE(latent_dim=2, widths=[4], image_shape=(1, 3, 3), prior={"_target_": f"{__name__}.Wide"}).double()
    source = torch.Generator().manual_seed(0)
    images, noise = torch.rand(3, 1, 3, 3, generator=source).double(), torch.randn(4, 3, 2, generator=source).double()
    draws = draw(vae, images, noise)
    assert not draws.exact_kl
    posterior, prior = vae.encode(images), vae.prior_distribution()
    assert posterior.kl(prior) is None
    expected = (posterior.log_prob(draws.z) - prior.log_prob(draws.z)).sum(-1).mean(0)
    torch.testing.assert_close(draws.mean_kl().sum(-1), expected)
    torch.testing.assert_close(draws.log_weights(), prior.log_prob(draws.z).sum(-1) - draws.log_posterior() - draws.nll)


def test_a_prior_that_does_not_go_with_the_posterior_or_the_objective_is_refused() -> None:
    with pytest.raises(InputError, match=r"^prior=Binary: must be another, because it is a distribution of binary"):
        VAE(prior={"_target_": f"{__name__}.Binary"})
    free_bits = {"_target_": "vae_lightning.objectives.FreeBits"}
    with pytest.raises(InputError, match=r"^objective=FreeBits: must be another, .* posterior=Gaussian and prior=Wide"):
        VAE(prior={"_target_": f"{__name__}.Wide"}, objective=free_bits)
    with pytest.raises(InputError, match=r"^posterior\._target_=torch\.nn\.Linear: must be the full name of"):
        VAE(posterior={"_target_": "torch.nn.Linear"})
