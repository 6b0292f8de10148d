"""Sampling of latents, and the terms of objectives."""

from typing import Protocol

from torch import Tensor

from vae_lightning.estimators.estimator import Estimator
from vae_lightning.objectives.draws import Draws
from vae_lightning.posteriors.gaussian import Gaussian
from vae_lightning.posteriors.kl import kl
from vae_lightning.precision import in_single_precision
from vae_lightning.priors.prior import Prior

__all__ = ["draw"]


class _Model(Protocol):
    estimator: Estimator
    prior: Prior

    def encode(self, images: Tensor, /) -> Gaussian: ...

    def nll(self, z: Tensor, images: Tensor, /) -> Tensor: ...


def draw(model: _Model, images: Tensor, noise: Tensor) -> Draws:
    """Draw S latents for each image.

    Arguments:
        model: a VAE, or a stack of them.
        images: ``(..., B, C, H, W)``.
        noise: ``(S, ..., B, latent_dim)`` from N(0, I).
    """
    posterior = Gaussian(*map(in_single_precision, model.encode(images)))
    # A single sample has no dimension of its own, because some networks handle only one batch dimension.
    single = len(noise) == 1
    z = posterior.rsample(noise[0] if single else noise)
    if not model.estimator.reparameterized:
        z = z.detach()
    nll = model.nll(z, images)
    if single:
        z, nll = z[None], nll[None]
    return Draws(posterior.mu, posterior.logvar, kl(posterior, model.prior), z, nll)
