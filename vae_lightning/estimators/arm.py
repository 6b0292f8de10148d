"""The antithetic gradient in the space of the noise (ARM)."""

from collections.abc import Callable

import torch
from torch import Tensor

from vae_lightning.estimators.estimator import Estimator
from vae_lightning.estimators.gradients import along, follow
from vae_lightning.objectives.draws import Draws
from vae_lightning.objectives.objective import Terms
from vae_lightning.posteriors.discrete import Layer
from vae_lightning.posteriors.distribution import Distribution

__all__ = ["ARM"]


class ARM(Estimator):
    r"""The difference of the objective at two antithetic latents, times the noise (augment, REINFORCE, merge).

    .. math:: \big(f(z) - f(z')\big) \left(u - \tfrac{1}{2}\right), \qquad z = [u > \sigma(-a)], \; z' = [u < \sigma(a)]

    u is uniform, a the logits. It is unbiased. The two latents take a pass of the decoder each, whose gradient is their
    mean; with several stochastic layers, each layer after the first takes two more passes.

    References:
        ARM: Augment-REINFORCE-Merge Gradient for Stochastic Binary Networks, Yin and Zhou, 2019, theorem 1
        (https://arxiv.org/abs/1807.11143).
    """

    posteriors = ("Bernoulli",)

    def sample(self, posterior: Distribution, noise: Tensor) -> tuple[Tensor, Tensor | None]:
        return super().sample(posterior, torch.cat([noise, -noise]))

    def loss(self, objective: Callable[[Draws], Terms], draws: Draws) -> Tensor:
        terms = objective(draws)
        loss, cost = terms.total(draws), terms.sampled.detach()
        noise = torch.cat([draws.noise, -draws.noise])
        for place, layer in enumerate(draws.posterior.layers(draws.z, noise)):
            own_noise = noise[..., layer.columns]
            other = layer.distribution.hard(-own_noise)
            # The first layer's antithetic latents have been drawn, with those that follow from them.
            other_cost = (
                cost.flip(0) if place == 0 else objective(draws.at(layer.complete(other, False))).sampled.detach()
            )
            difference = (cost - other_cost).repeat_interleave(len(layer.z) // len(cost), 0)
            gradient = along(difference, layer.distribution) * self.factor(layer, other, own_noise)
            loss = loss + follow(layer.distribution, gradient, draws).unflatten(0, (2, -1)).sum(1).mean(0)
        return loss

    def factor(self, layer: Layer, other: Tensor, noise: Tensor) -> Tensor:
        """Return what the difference of the objective is multiplied with, ``(S, ..., B, latent_dim)``.

        Arguments:
            layer: a layer of S latents.
            other: their antithetic latents.
            noise: the noise that led to the former.
        """
        uniform: Tensor = torch.special.ndtr(noise)
        return uniform - 0.5
