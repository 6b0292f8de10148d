"""Movements in a latent space that stay on its support."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from vae_lightning.posteriors.posterior import Posterior

__all__ = ["between", "onto"]

SPHERE = "the unit sphere"


def _simplex(z: Tensor) -> Tensor:
    return F.normalize(z.clamp(min=1e-6), p=1, dim=-1)


# By Posterior.support, from numbers (..., latent_dim, n) of each latent variable.
_ONTO: Mapping[str, Callable[[Tensor], Tensor]] = {
    "positive numbers": lambda z: z.clamp(min=1e-6),
    "numbers between 0 and 1": lambda z: z.clamp(1e-6, 1 - 1e-6),
    "binary vectors": lambda z: z.clamp(0, 1),
    "one-hot vectors": _simplex,  # the probabilities of the categories, as in the posterior's mean
}
# From the numbers (..., size) of all latent variables together.
_ONTO_TOGETHER: Mapping[str, Callable[[Tensor], Tensor]] = {
    "the simplex": _simplex,
    SPHERE: lambda z: F.normalize(z, dim=-1),
}


def onto(posterior: Posterior, z: Tensor) -> Tensor:
    """Return latents near the given ones that are on the support of a posterior or, if it is discrete, in its hull.

    Real numbers, and supports that are not known here, are returned as they are.

    Arguments:
        posterior: the family.
        z: ``(..., size)``.
    """
    if posterior.support in _ONTO:
        each: Tensor = z.unflatten(-1, (posterior.latent_dim, -1))
        return _ONTO[posterior.support](each).flatten(-2)
    return _ONTO_TOGETHER[posterior.support](z) if posterior.support in _ONTO_TOGETHER else z


def between(posterior: Posterior, start: Tensor, end: Tensor, places: Tensor) -> Tensor:
    """Return latents on the way from one to another: on a great circle if the latents are on a sphere, else on a line.

    Arguments:
        posterior: the family.
        start: ``(size,)``.
        end: ``(size,)``.
        places: ``(P,)``, from 0 at the start to 1 at the end.

    Returns:
        ``(P, size)``.

    References:
        Animating Rotation with Quaternion Curves, Shoemake, 1985 (https://doi.org/10.1145/325334.325242): the formula
        for the sphere.
    """
    places = places.to(start)[:, None]
    if posterior.support == SPHERE:
        start, end = F.normalize(start, dim=-1), F.normalize(end, dim=-1)
        angle = torch.arccos((start @ end).clamp(-1, 1))
        if 1e-3 < angle < torch.pi - 1e-3:
            return (torch.sin((1 - places) * angle) * start + torch.sin(places * angle) * end) / torch.sin(angle)
    return onto(posterior, torch.lerp(start, end, places))
