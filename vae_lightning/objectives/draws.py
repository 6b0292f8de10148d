"""Latents drawn from the posterior, and the terms of objectives."""

from collections.abc import Callable
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from vae_lightning.posteriors.distribution import Distribution
from vae_lightning.precision import sum_in_double

__all__ = ["ELBO", "Draws", "masked", "mean_over_samples"]


def mean_over_samples(values: Tensor) -> Tensor:
    """Return the mean over the first dimension; of one sample, without its cost in time."""
    return values.squeeze(0) if len(values) == 1 else values.mean(0)


def masked(z: Tensor, own: Tensor | None) -> Tensor:
    """Return latents ``(..., B, size)`` with zeros in the padding.

    Arguments:
        z: the latents.
        own: as :attr:`Draws.own`.
    """
    return z if own is None else z * own.repeat_interleave(z.shape[-1] // own.shape[-1], -1)


class ELBO(NamedTuple):
    """Terms of the negative evidence lower bound, each in nats per image, ``(...)``: loss = recon + kl."""

    loss: Tensor
    recon: Tensor
    kl: Tensor

    @classmethod
    def of(cls, recon: Tensor, kl: Tensor) -> Self:
        """Add up the terms.

        Arguments:
            recon: -log p(x|z), averaged over latents, ``(...)``.
            kl: KL, ``(..., latent_dim)`` or ``(..., 1)``.
        """
        divergence = kl.sum(-1)
        return cls(recon + divergence, recon, divergence)

    def sums(self) -> dict[str, Tensor]:
        """Return the sum of each term over the last dimension, in double precision."""
        return {name: sum_in_double(term) for name, term in self._asdict().items()}


_NONE = torch.empty(0)


def _nowhere(z: Tensor) -> "Draws":
    raise TypeError("these draws cannot be repeated at other latents, because they come without a model")


class Draws(NamedTuple):
    """S latents for each of B images, and the terms of their loss; dimensions in between are the models of a stack.

    Attributes:
        posterior: the posteriors of the images, a Distribution.
        prior: the prior.
        kl: KL of the posteriors from the prior, ``(..., B, latent_dim)``, in each latent variable if they are
            independent in both, otherwise ``(..., B, 1)``; ``(S, ...)`` if it is not exact.
        exact_kl: whether the KL is known in closed form; otherwise it is log q(z|x) - log p(z) of each latent, whose
            mean is the KL.
        z: the latents, ``(S, ..., B, size)``.
        nll: -log p(x|z), ``(S, ..., B)``.
        own: 1 for a model's own latent variables, 0 for its padding in a stack, ``(..., 1, latent_dim)``; None if there
            is no padding.
        noise: the rows of N(0, I) that the draws were given, ``(R, ..., B, noise_size)``.
        images: the images, without labels, ``(..., B, C, H, W)``.
        at: a function of other latents ``(S', ..., B, size)`` of the same images that returns their Draws, with a
            further pass of the decoder.
        weights: the share of each latent in a mean, ``(S, ..., B)``; None if all have the same.
    """

    posterior: Any
    prior: Distribution
    kl: Tensor
    exact_kl: bool
    z: Tensor
    nll: Tensor
    own: Tensor | None = None
    # A model's draws have the next three, except that those of other latents have no further `at`.
    noise: Tensor = _NONE
    images: Tensor = _NONE
    at: "Callable[[Tensor], Draws]" = _nowhere
    weights: Tensor | None = None

    def mean(self, values: Tensor) -> Tensor:
        """Return the mean over latents of values ``(S, ..., B)``."""
        return mean_over_samples(values) if self.weights is None else (self.weights * values).sum(0)

    def mean_nll(self) -> Tensor:
        """Return the reconstruction term, the mean over latents of -log p(x|z), ``(..., B)``."""
        return self.mean(self.nll)

    def mean_kl(self) -> Tensor:
        """Return the KL, ``(..., B, latent_dim)`` or ``(..., B, 1)``."""
        if self.exact_kl:
            return self.kl
        weights = None if self.weights is None else self.weights.unsqueeze(-1)
        return self._replace(weights=weights).mean(self.kl)

    def elbo(self) -> ELBO:
        """Return the terms of the negative evidence lower bound, ``(..., B)``."""
        return ELBO.of(self.mean_nll(), self.mean_kl())

    def log_posterior(self) -> Tensor:
        """Return log q(z|x), ``(S, ..., B)``."""
        return self.sum(self.posterior.log_prob(self.z))

    def log_prior(self) -> Tensor:
        """Return log p(z), ``(S, ..., B)``."""
        return self.sum(self.prior.log_prob(self.z))

    def log_weights(self) -> Tensor:
        """Return log (p(x|z) p(z) / q(z|x)), the log-weights of importance sampling, ``(S, ..., B)``."""
        return self.log_prior() - self.log_posterior() - self.nll

    def sum(self, values: Tensor) -> Tensor:
        """Return the sum over a model's own latent variables of values ``(S, ..., B, latent_dim)``, ``(S, ..., B)``."""
        return (values if self.own is None else values * self.own).sum(-1)
