"""Numbers of the value 0 that have the gradients of an estimator."""

from torch import Tensor

from vae_lightning.objectives.draws import Draws
from vae_lightning.posteriors.discrete import DiscreteDistribution

__all__ = ["along", "follow", "log_posteriors", "only_gradient", "over_logits"]


def only_gradient(values: Tensor) -> Tensor:
    """Return 0 with the gradient of values."""
    return values - values.detach()


def log_posteriors(draws: Draws, groups: int) -> Tensor:
    """Return log q(z|x) of the latents that a value of the objective takes, ``(groups, ..., B)``."""
    grouped: Tensor = draws.log_posterior().unflatten(0, (groups, -1))
    return grouped.sum(1)


def along(values: Tensor, distribution: DiscreteDistribution) -> Tensor:
    """Return a value for each image, ``(..., B)``, with one more dimension for each of an image's logits."""
    dims = 1 if distribution.event_dims is None else distribution.event_dims[0]
    return values.reshape(*values.shape, *[1] * dims)


def follow(distribution: DiscreteDistribution, gradient: Tensor, draws: Draws) -> Tensor:
    """Return 0 for each latent of each image, ``(S, ..., B)``, with a given gradient in its logits.

    Arguments:
        distribution: that of a layer of latents.
        gradient: ``(S, ..., B, latent_dim)``, or ``(S, ..., B, latent_dim, categories)``.
        draws: the draws, whose padding in a stack gets no gradient.
    """
    return over_logits(gradient.detach() * only_gradient(distribution.logits), distribution, draws)


def over_logits(values: Tensor, distribution: DiscreteDistribution, draws: Draws) -> Tensor:
    """Return the sum over an image's logits of values in their shape, without those of padding, ``(..., B)``."""
    return draws.sum(values if distribution.event_dims is None else values.sum(-1))
