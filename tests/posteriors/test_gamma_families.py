"""What is special about the families whose samples come from Gamma variables."""

import math

import torch

from vae_lightning.posteriors import Beta, Dirichlet, Gamma, StudentT


def test_beta_samples_are_strictly_between_0_and_1() -> None:
    distribution = Beta(latent_dim=1)(torch.tensor([[-20.0, 20.0], [20.0, -20.0]]))
    z = distribution.rsample(torch.tensor([[-8.0, 8.0], [8.0, -8.0]]))
    assert ((z > 0) & (z < 1) & distribution.log_prob(z).isfinite()).all()


def test_samples_are_positive_beyond_the_smallest_number() -> None:
    noise = torch.tensor([[-8.0, 8.0]])
    for posterior, encoded in (
        (Gamma(latent_dim=2), [-20.0, -20.0, 20.0, 20.0]),
        (Dirichlet(latent_dim=2), [-20.0, 20.0]),
    ):
        distribution = posterior(torch.tensor([encoded]))
        z = distribution.rsample(noise)
        assert ((z > 0) & distribution.log_prob(z).isfinite()).all()


def test_dirichlet_moves_one_share_and_rescales_the_others() -> None:
    moved = Dirichlet(latent_dim=3).moved(torch.tensor([0.2, 0.3, 0.5]), 1, torch.tensor([0.0, 0.3, 0.65]))
    expected = torch.tensor([[2 / 7, 0.0, 5 / 7], [0.2, 0.3, 0.5], [0.1, 0.65, 0.25]])
    torch.testing.assert_close(moved, expected)


def test_student_t_approaches_the_gaussian() -> None:
    posterior = StudentT(latent_dim=1)
    distribution = posterior(torch.tensor([[0.3, -0.5, 1e5]], dtype=torch.float64))
    kl = distribution.kl(posterior.standard(distribution.loc))
    assert kl is not None
    torch.testing.assert_close(kl.item(), 0.5 * (0.09 + math.exp(-1)), atol=1e-4, rtol=0)


def test_student_t_has_a_bounded_variance() -> None:
    """With scale 1 and 3 degrees of freedom, the variance in the KL from N(0, 1) is 3."""
    posterior = StudentT(latent_dim=1)
    distribution = posterior(torch.tensor([[0.0, 0.0, -1e3]]))
    kl = distribution.kl(posterior.standard(distribution.loc))
    assert kl is not None
    entropy = torch.distributions.StudentT(3.0).entropy().item()
    torch.testing.assert_close(kl.item(), 1.5 + 0.5 * math.log(2 * math.pi) - entropy)
