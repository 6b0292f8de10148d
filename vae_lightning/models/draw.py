"""Sampling of latents, and the terms of objectives."""

from typing import Protocol

from torch import Tensor

from vae_lightning.estimators.estimator import Estimator
from vae_lightning.estimators.reparameterization import Reparameterization
from vae_lightning.objectives.draws import Draws, masked
from vae_lightning.posteriors.distribution import Distribution, log_ratio
from vae_lightning.precision import in_single_precision

__all__ = ["PLAIN", "draw"]


class _Model(Protocol):
    def encode(self, images: Tensor, /) -> Distribution: ...

    def prior_distribution(self) -> Distribution: ...

    def nll(self, z: Tensor, images: Tensor, /) -> Tensor: ...

    def pixels(self, images: Tensor, /) -> Tensor: ...


# Evaluations take one latent for each row of noise, whatever the estimator of the gradient.
PLAIN = Reparameterization()


def draw(
    model: _Model, images: Tensor, noise: Tensor, own: Tensor | None = None, estimator: Estimator = PLAIN
) -> Draws:
    """Draw latents for each image.

    Arguments:
        model: a VAE, or a stack of them.
        images: ``(..., B, C, H, W)``.
        noise: ``(R, ..., B, noise_size)`` from N(0, I).
        own: 1 for each model's own latent variables and 0 for its padding, ``(..., 1, latent_dim)``; None if there is
            no padding.
        estimator: what draws them; by default, each row of noise gives one latent.
    """
    posterior = model.encode(images).map(in_single_precision)
    prior = model.prior_distribution().map(in_single_precision)

    def at(z: Tensor, log_posterior: Tensor | None = None) -> Draws:
        # A single latent has no dimension of its own, because some networks handle only one batch dimension.
        single = len(z) == 1
        inner = z.squeeze(0) if single else z
        nll = model.nll(masked(inner, own), images)
        # After the rest: the order in which gradients are added up decides their last bits.
        kl = posterior.kl(prior)
        exact = kl is not None
        if kl is None:
            log_posterior = posterior.log_prob(inner) if log_posterior is None else log_posterior
            kl = log_ratio(log_posterior, prior.log_prob(inner))
        if own is not None:
            kl = kl * own
        if single:
            nll, kl = nll[None], kl if exact else kl[None]
        return Draws(posterior, prior, kl, exact, z, nll, own, noise, model.pixels(images))

    draws = at(*estimator.sample(posterior, noise))
    # Here, because a function that refers to itself would keep the graph until the garbage collector runs.
    return draws._replace(at=at, weights=estimator.weights(draws))
