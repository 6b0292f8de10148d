"""Sampling of latents, and the terms of objectives."""

from typing import Protocol

from torch import Tensor

from vae_lightning.estimators.estimator import Estimator
from vae_lightning.objectives.draws import Draws
from vae_lightning.posteriors.distribution import Distribution, log_ratio
from vae_lightning.precision import in_single_precision

__all__ = ["draw"]


class _Model(Protocol):
    estimator: Estimator

    def encode(self, images: Tensor, /) -> Distribution: ...

    def prior_distribution(self) -> Distribution: ...

    def nll(self, z: Tensor, images: Tensor, /) -> Tensor: ...


def draw(model: _Model, images: Tensor, noise: Tensor, own: Tensor | None = None) -> Draws:
    """Draw S latents for each image.

    Arguments:
        model: a VAE, or a stack of them.
        images: ``(..., B, C, H, W)``.
        noise: ``(S, ..., B, noise_size)`` from N(0, I).
        own: 1 for each model's own latent variables and 0 for its padding, ``(..., 1, latent_dim)``; None if there is
            no padding.
    """
    posterior = model.encode(images).map(in_single_precision)
    prior = model.prior_distribution().map(in_single_precision)
    # A single sample has no dimension of its own, because some networks handle only one batch dimension.
    single = len(noise) == 1
    if single:
        noise = noise[0]
    log_posterior = None
    if type(posterior).kl is Distribution.kl and model.estimator.reparameterized:
        z, log_posterior = posterior.rsample_and_log_prob(noise)
    else:
        z = posterior.rsample(noise)
    if not model.estimator.reparameterized:
        z = z.detach()
    nll = model.nll(z if own is None else z * own.repeat_interleave(z.shape[-1] // own.shape[-1], -1), images)
    # After the rest: the order in which gradients are added up decides their last bits.
    kl = posterior.kl(prior)
    exact = kl is not None
    if kl is None:
        if log_posterior is None:
            log_posterior = posterior.log_prob(z)
        kl = log_ratio(log_posterior, prior.log_prob(z))
        kl = kl if single else kl.mean(0)
    if own is not None:
        kl = kl * own
    if single:
        z, nll = z[None], nll[None]
    return Draws(posterior, prior, kl, exact, z, nll, own)
