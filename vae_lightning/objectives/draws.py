"""Latents drawn from the posterior, and the terms of objectives."""

from typing import NamedTuple, Self

from torch import Tensor

from vae_lightning.posteriors.distribution import Distribution
from vae_lightning.precision import sum_in_double

__all__ = ["ELBO", "Draws", "mean_over_samples"]


def mean_over_samples(values: Tensor) -> Tensor:
    """Return the mean over the first dimension; of one sample, without its cost in time."""
    return values.squeeze(0) if len(values) == 1 else values.mean(0)


class ELBO(NamedTuple):
    """Terms of the negative evidence lower bound, each in nats per image, ``(...)``: loss = recon + kl."""

    loss: Tensor
    recon: Tensor
    kl: Tensor

    @classmethod
    def of(cls, nll: Tensor, kl: Tensor) -> Self:
        """Estimate the reconstruction term from sampled latents.

        Arguments:
            nll: -log p(x|z) of S latents per image, ``(S, ...)``.
            kl: KL, ``(..., latent_dim)`` or ``(..., 1)``.
        """
        recon, divergence = mean_over_samples(nll), kl.sum(-1)
        return cls(recon + divergence, recon, divergence)

    def sums(self) -> dict[str, Tensor]:
        """Return the sum of each term over the last dimension, in double precision."""
        return {name: sum_in_double(term) for name, term in self._asdict().items()}


class Draws(NamedTuple):
    """S latents for each of B images, and the terms of their loss; dimensions in between are the models of a stack.

    Attributes:
        posterior: the posteriors of the images.
        prior: the prior.
        kl: KL of the posteriors from the prior, ``(..., B, latent_dim)``, in each latent variable if they are
            independent in both, otherwise ``(..., B, 1)``.
        exact_kl: whether the KL is known in closed form; otherwise it is the mean of log q(z|x) - log p(z) over the
            latents.
        z: the latents, ``(S, ..., B, size)``.
        nll: -log p(x|z), ``(S, ..., B)``.
        own: 1 for a model's own latent variables, 0 for its padding in a stack, ``(..., 1, latent_dim)``; None if there
            is no padding.
    """

    posterior: Distribution
    prior: Distribution
    kl: Tensor
    exact_kl: bool
    z: Tensor
    nll: Tensor
    own: Tensor | None = None

    def elbo(self) -> ELBO:
        """Return the terms of the negative evidence lower bound, ``(..., B)``."""
        return ELBO.of(self.nll, self.kl)

    def log_posterior(self) -> Tensor:
        """Return log q(z|x), ``(S, ..., B)``."""
        return self._sum(self.posterior.log_prob(self.z))

    def log_prior(self) -> Tensor:
        """Return log p(z), ``(S, ..., B)``."""
        return self._sum(self.prior.log_prob(self.z))

    def log_weights(self) -> Tensor:
        """Return log (p(x|z) p(z) / q(z|x)), the log-weights of importance sampling, ``(S, ..., B)``."""
        return self.log_prior() - self.log_posterior() - self.nll

    def _sum(self, log_prob: Tensor) -> Tensor:
        return (log_prob if self.own is None else log_prob * self.own).sum(-1)
