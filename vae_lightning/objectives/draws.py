"""Latents drawn from the posterior, and the terms of objectives."""

from typing import NamedTuple, Self

from torch import Tensor

from vae_lightning.posteriors.gaussian import Gaussian
from vae_lightning.precision import sum_in_double

__all__ = ["ELBO", "Draws"]


class ELBO(NamedTuple):
    """Terms of the negative evidence lower bound, each in nats per image, ``(...)``: loss = recon + kl."""

    loss: Tensor
    recon: Tensor
    kl: Tensor

    @classmethod
    def of(cls, nll: Tensor, kl: Tensor) -> Self:
        """Estimate the reconstruction term from sampled latents; the KL is exact.

        Arguments:
            nll: -log p(x|z) of S latents per image, ``(S, ...)``.
            kl: KL in each latent dimension, ``(..., latent_dim)``.
        """
        recon, divergence = nll.mean(0), kl.sum(-1)
        return cls(recon + divergence, recon, divergence)

    def sums(self) -> dict[str, Tensor]:
        """Return the sum of each term over the last dimension, in double precision."""
        return {name: sum_in_double(term) for name, term in self._asdict().items()}


class Draws(NamedTuple):
    """S latents for each of B images, and the terms of their loss; dimensions in between are the models of a stack.

    Attributes:
        mu: posterior means, ``(..., B, latent_dim)``.
        logvar: logarithms of the posterior variances, likewise.
        kl: KL of the posteriors from the prior in each dimension, likewise.
        z: the latents, ``(S, ..., B, latent_dim)``.
        nll: -log p(x|z), ``(S, ..., B)``.
    """

    mu: Tensor
    logvar: Tensor
    kl: Tensor
    z: Tensor
    nll: Tensor

    def elbo(self) -> ELBO:
        """Return the terms of the negative evidence lower bound, ``(..., B)``."""
        return ELBO.of(self.nll, self.kl)

    def log_posterior(self) -> Tensor:
        """Return log q(z|x) up to a constant, ``(S, ..., B)``."""
        return Gaussian(self.mu, self.logvar).log_kernel(self.z)

    def log_weights(self) -> Tensor:
        """Return log (p(x|z) p(z) / q(z|x)), the log-weights of importance sampling, ``(S, ..., B)``."""
        # The constants of prior and posterior cancel.
        return -0.5 * self.z.square().sum(-1) - self.log_posterior() - self.nll
