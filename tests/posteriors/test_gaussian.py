"""The Gaussian posterior and its KL from the standard normal prior, against torch.distributions."""

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence
from vae_lightning.posteriors.kl import check_kl, kl

from vae_lightning import VAE, InputError
from vae_lightning.posteriors import Gaussian
from vae_lightning.priors import Prior, StandardNormal


class Other(Prior):
    def sample(self, noise: torch.Tensor) -> torch.Tensor:
        return 2 * noise


def test_latents_density_and_kl_are_those_of_torch() -> None:
    source = torch.Generator().manual_seed(0)
    encoded, noise, z = (torch.randn(5, size, generator=source, dtype=torch.float64) for size in (6, 3, 3))
    posterior = Gaussian.of(encoded)
    reference = Normal(encoded[:, :3], torch.exp(encoded[:, 3:] / 2))
    torch.testing.assert_close(posterior.mean, reference.mean)
    torch.testing.assert_close(posterior.rsample(noise), reference.loc + reference.scale * noise)
    constant = 3 * math.log(2 * math.pi) / 2
    torch.testing.assert_close(posterior.log_kernel(z) - constant, reference.log_prob(z).sum(-1))
    torch.testing.assert_close(kl(posterior, StandardNormal()), kl_divergence(reference, Normal(0.0, 1.0)))


def test_a_prior_without_a_known_kl_is_refused() -> None:
    with pytest.raises(InputError, match=r"^prior=Other: must be StandardNormal with posterior=Gaussian"):
        check_kl(Gaussian, Other)
    with pytest.raises(InputError, match=r"^prior=Other: must be StandardNormal"):
        VAE(prior={"_target_": f"{__name__}.Other"})
    with pytest.raises(InputError, match=r"^posterior\._target_=torch\.nn\.Linear: must be the full name of"):
        VAE(posterior={"_target_": "torch.nn.Linear"})
