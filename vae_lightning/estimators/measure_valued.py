"""The gradient as a difference of expectations under two measures (measure-valued)."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from vae_lightning.estimators.estimator import Estimator
from vae_lightning.estimators.gradients import only_gradient
from vae_lightning.objectives.draws import Draws
from vae_lightning.objectives.objective import Terms
from vae_lightning.posteriors.discrete import Layer
from vae_lightning.posteriors.distribution import Distribution
from vae_lightning.posteriors.gaussian import GaussianDistribution
from vae_lightning.posteriors.posterior import Posterior

__all__ = ["MeasureValued"]


class MeasureValued(Estimator):
    r"""The weak derivative: for each latent variable, the difference of the objective under two distributions.

    .. math:: \nabla_\theta \mathbb{E}_q[f(z)] = c_\theta \left(\mathbb{E}_{q^+}[f(z)] - \mathbb{E}_{q^-}[f(z)]\right)

    For a Gaussian's mean, q+ and q- are the mean plus and minus a Weibull variable, with c = 1 / (sigma sqrt(2 pi));
    for its standard deviation, a double-sided Maxwell and a Gaussian, with c = 1 / sigma. Both share their noise, which
    lowers the variance. For discrete variables, all values of each variable are enumerated, with the
    other variables as drawn. It is unbiased for any objective, differentiable or not, and takes a pass of the decoder
    for each of 2 or 4 values of each variable.

    References:
        Monte Carlo Gradient Estimation in Machine Learning, Mohamed et al., 2020, section 6
        (https://arxiv.org/abs/1906.10652).
    """

    posteriors = ("Bernoulli", "Categorical", "Gaussian")
    single = True

    def prepare(self, posterior: Posterior, image_shape: Sequence[int]) -> None:
        # Besides the latents, a Gaussian takes three numbers for each variable.
        self.rows = 4 if posterior.differentiable else 1

    def sample(self, posterior: Distribution, noise: Tensor) -> tuple[Tensor, Tensor | None]:
        return super().sample(posterior, noise[:1])

    def loss(self, objective: Callable[[Draws], Terms], draws: Draws) -> Tensor:
        loss = objective(draws).total(draws)
        if isinstance(draws.posterior, GaussianDistribution):
            return loss + self._gaussian(objective, draws, draws.posterior)
        for layer in draws.posterior.layers(draws.z, draws.noise):
            loss = loss + self._discrete(objective, draws, layer)
        return loss

    def _gaussian(self, objective: Callable[[Draws], Terms], draws: Draws, posterior: GaussianDistribution) -> Tensor:
        std = (0.5 * posterior.logvar).exp().detach()
        first, second, third = draws.noise[1:]
        # The length of two normal variables is a Weibull one; that of three, with the sign of one of them, a
        # double-sided Maxwell one, and that one's part of it is uniform.
        rayleigh = torch.hypot(second, third)
        maxwell = torch.hypot(first, rayleigh).copysign(first)
        moved = posterior.mu.detach() + std * torch.stack([rayleigh, -rayleigh, maxwell, first])
        above, below, wide, plain = _costs(objective, draws, draws.z, moved.unsqueeze(-1))
        mean_gradient = (above - below) / (math.sqrt(2 * math.pi) * std)
        products = mean_gradient * only_gradient(posterior.mu) + 0.5 * (wide - plain) * only_gradient(posterior.logvar)
        return draws.sum(products)

    def _discrete(self, objective: Callable[[Draws], Terms], draws: Draws, layer: Layer) -> Tensor:
        distribution, states = layer.distribution, layer.distribution.states()
        values = states.view(len(states), *[1] * (layer.z.dim() - 1), -1)
        costs = _costs(objective, draws, layer.z, values, layer)
        probabilities = distribution.log_probs().exp().reshape(costs.shape)
        return draws.sum((costs * only_gradient(probabilities)).sum(0))


def _costs(
    objective: Callable[[Draws], Terms], draws: Draws, z: Tensor, values: Tensor, layer: Layer | None = None
) -> Tensor:
    """Return the objective with one latent variable at a time set to other values, ``(C, ..., B, latent_dim)``.

    Arguments:
        objective: the terms of the objective, a function of draws.
        draws: the draws of a batch.
        z: the latents, ``(1, ..., B, size)``.
        values: C values of each variable, ``(C, ..., B, latent_dim, size / latent_dim)``, or broadcasting with it.
        layer: the layer of the latents; None if it is the only one.
    """
    by_variable = z[0].unflatten(-1, (-1, values.shape[-1]))
    count = by_variable.shape[-2]
    moved = torch.eye(count, dtype=torch.bool, device=z.device).view(
        count, *[1] * (by_variable.dim() - 2), count, 1
    )  # (latent_dim, ..., 1, latent_dim, 1)
    each = torch.where(moved, values.unsqueeze(1), by_variable).flatten(-2)
    flat = each.flatten(0, 1)
    cost = objective(draws.at(flat if layer is None else layer.complete(flat, False))).sampled.detach()
    costs: Tensor = cost.unflatten(0, (len(values), count)).movedim(1, -1)
    return costs
