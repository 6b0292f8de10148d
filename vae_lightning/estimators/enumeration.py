"""The exact gradient, by enumeration of all latents."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from vae_lightning.config.errors import InputError
from vae_lightning.estimators.estimator import Estimator
from vae_lightning.estimators.rules import LIMIT, too_many_values
from vae_lightning.objectives.draws import Draws
from vae_lightning.posteriors.posterior import Posterior

__all__ = ["Enumeration"]


class Enumeration(Estimator):
    r"""The exact gradient of the expectation, a sum over all values of an image's latents.

    .. math:: \nabla \sum_z q(z|x) \, f(z)

    It has neither bias nor variance. Each step takes a pass of the decoder for each value: 2^latent_dim for Bernoulli
    variables, categories^latent_dim for categorical ones.

    Raises:
        InputError: if a model's latents have more than 4,096 values.
    """

    posteriors = ("Bernoulli", "Categorical")
    single = True

    def prepare(self, posterior: Posterior, image_shape: Sequence[int]) -> None:
        count = posterior.values**posterior.latent_dim
        if count > LIMIT:
            raise InputError(too_many_values(type(self).__name__, count))

    def sample(self, posterior: Any, noise: Tensor) -> tuple[Tensor, Tensor | None]:
        states = posterior.states()
        variables = noise.shape[-1] // states.shape[-1]
        index = torch.arange(len(states), device=noise.device)
        every = torch.cartesian_prod(*[index] * variables).view(-1, variables)
        z = states[every].flatten(1)
        return z.view(len(z), *[1] * (noise.dim() - 2), -1).expand(-1, *noise.shape[1:-1], -1), None

    def weights(self, draws: Draws) -> Tensor:
        """Return q(z|x), whose gradient is the estimate's."""
        log_posterior = draws.posterior.log_prob(draws.z)
        if draws.own is not None:
            # The values of the padding are repetitions with equal shares.
            log_share = -math.log(len(draws.posterior.states()))
            log_posterior = torch.where(draws.own > 0, log_posterior, log_share)
        shares: Tensor = log_posterior.sum(-1).exp()
        return shares
