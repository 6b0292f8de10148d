"""What draws from the posterior tell of a batch: the terms that objectives are made of, in nats."""

from typing import NamedTuple, Self

import torch
from torch import Tensor

__all__ = ["ELBO", "Draws", "added_up", "gaussian_kl"]


def gaussian_kl(mu: Tensor, logvar: Tensor) -> Tensor:
    r"""Kullback-Leibler divergence of N(mu, exp(logvar)) from N(0, I), in nats, for each latent dimension.

    .. math:: -\tfrac{1}{2} (1 + \log \sigma^2 - \mu^2 - \sigma^2)

    Written with ``expm1``, so that it keeps its precision where posterior and prior are nearly the same.

    Arguments:
        mu: posterior means, ``(..., latent_dim)``.
        logvar: logarithms of the posterior variances, of the same shape.

    Returns:
        Nats per latent dimension, of the same shape; the divergence of an image is their sum.

    References:
        Auto-Encoding Variational Bayes, Kingma and Welling, 2014, appendix B (https://arxiv.org/abs/1312.6114).
    """
    return 0.5 * (mu.square() + torch.expm1(logvar) - logvar)


class ELBO(NamedTuple):
    """Terms of the negative evidence lower bound, each in nats per image, ``(...)``: loss = recon + kl."""

    loss: Tensor
    recon: Tensor
    kl: Tensor

    @classmethod
    def of(cls, nll: Tensor, kl: Tensor) -> Self:
        """Its reconstruction by latents drawn, its KL exactly.

        Arguments:
            nll: -log p(x|z) of S latents an image, ``(S, ...)``.
            kl: in each latent dimension, ``(..., latent_dim)``.
        """
        recon, divergence = nll.mean(0), kl.sum(-1)
        return cls(recon + divergence, recon, divergence)

    def sums(self) -> dict[str, Tensor]:
        """Each term's sum over the last dimension, added up in double precision."""
        return {name: added_up(term) for name, term in self._asdict().items()}


def added_up(values: Tensor) -> Tensor:
    """The sum over the last dimension, in double precision."""
    # Apple's GPUs have no double.
    return values.sum(-1, dtype=torch.float32 if values.device.type == "mps" else torch.float64)


class Draws(NamedTuple):
    """S latents drawn for each of B images, and what they cost; dimensions in between are a stack's models.

    Attributes:
        mu: posterior means, ``(..., B, latent_dim)``.
        logvar: logarithms of the posterior variances, likewise.
        kl: their divergence from the prior in each dimension, likewise.
        z: the latents, ``(S, ..., B, latent_dim)``.
        nll: -log p(x|z), ``(S, ..., B)``.
    """

    mu: Tensor
    logvar: Tensor
    kl: Tensor
    z: Tensor
    nll: Tensor

    def elbo(self) -> ELBO:
        """The negative evidence lower bound, ``(..., B)``."""
        return ELBO.of(self.nll, self.kl)

    def log_posterior(self) -> Tensor:
        """Log q(z|x) but for a constant, ``(S, ..., B)``."""
        return -0.5 * ((self.z - self.mu).square() * torch.exp(-self.logvar) + self.logvar).sum(-1)

    def log_weights(self) -> Tensor:
        """Log p(x|z) p(z) / q(z|x), the log-weights of importance sampling, ``(S, ..., B)``."""
        # The constants of prior and posterior cancel.
        return -0.5 * self.z.square().sum(-1) - self.log_posterior() - self.nll
