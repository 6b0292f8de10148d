"""Categorical latents and their relaxation."""

import math
from typing import NamedTuple, Unpack

import torch
from torch import Tensor

from vae_lightning.config.arguments import checked
from vae_lightning.posteriors.categorical import CategoricalDistribution, CategoricalFormulas, CategoricalLogits
from vae_lightning.posteriors.concrete import Concrete, ConcreteOptions
from vae_lightning.posteriors.distribution import Distribution

__all__ = ["ConcreteCategorical", "RelaxedCategoricalDistribution", "StraightThroughCategoricalDistribution"]


class _Parameters(NamedTuple):
    logits: Tensor
    temperature: Tensor


class RelaxedCategoricalDistribution(_Parameters, CategoricalLogits):
    r"""Independent Concrete (Gumbel-softmax) variables, side by side.

    .. math:: z = \operatorname{softmax}\left(\frac{a + g}{T}\right), \qquad g = -\log(-\log u)

    Attributes:
        logits: a, the logarithms of the probabilities up to a constant, ``(..., B, latent_dim, categories)``.
        temperature: T, ``(..., 1, 1, 1)``.
    """

    __slots__ = ()

    event_dims = (2, 2)
    shared = ("temperature",)

    def rsample(self, noise: Tensor) -> Tensor:
        return self.relax(self.perturbed(noise), self.temperature)

    def log_prob(self, z: Tensor) -> Tensor:
        count, temperature = self.logits.shape[-1], self.temperature.squeeze(-1)
        log_z = self.by_variable(z).clamp(min=torch.finfo(z.dtype).tiny).log()  # it may have been rounded to 0
        shifted = self.logits - self.temperature * log_z
        normalised = (shifted - log_z).sum(-1) - count * shifted.logsumexp(-1)
        return normalised + math.lgamma(count) + (count - 1) * temperature.log()


class RelaxedCategoricalWithDiscreteKL(RelaxedCategoricalDistribution):
    """Concrete variables, whose KL is that of the categorical variables with the same logits."""

    __slots__ = ()

    def kl(self, other: Distribution) -> Tensor | None:
        if not isinstance(other, RelaxedCategoricalDistribution):
            return None
        return CategoricalDistribution(self.logits).kl(CategoricalDistribution(other.logits))


class StraightThroughCategoricalDistribution(_Parameters, CategoricalFormulas):
    """Independent categorical variables as one-hot vectors side by side, with the gradient of their relaxation.

    Attributes:
        logits: logarithms of the probabilities up to a constant, ``(..., B, latent_dim, categories)``.
        temperature: the temperature of the relaxation, ``(..., 1, 1, 1)``.
    """

    __slots__ = ()

    event_dims = (2, 2)
    shared = ("temperature",)

    def rsample(self, noise: Tensor) -> Tensor:
        relaxed = RelaxedCategoricalDistribution(*self).rsample(noise)
        hard = self.harden(self.by_variable(relaxed.detach()))
        return hard + (relaxed - relaxed.detach())


class ConcreteCategorical(Concrete):
    """Categorical latents, each a one-hot vector, with the logits of their categories from the encoder.

    Arguments:
        latent_dim: number of latent variables.
        categories: number of categories of each.

    The other arguments and errors are those of :class:`Concrete`.
    """

    support = "one-hot vectors"
    any_batch = True
    Hard, Relaxed = StraightThroughCategoricalDistribution, RelaxedCategoricalDistribution
    RelaxedWithDiscreteKL = RelaxedCategoricalWithDiscreteKL

    @checked
    def __init__(self, latent_dim: int, categories: int = 10, **options: Unpack[ConcreteOptions]) -> None:
        super().__init__(latent_dim, **options)
        self.categories = self.values = categories

    @property
    def size(self) -> int:
        return self.latent_dim * self.categories

    def forward(self, encoded: Tensor) -> Distribution:
        return self._of(encoded.unflatten(-1, (self.latent_dim, self.categories)), encoded)

    def standard(self, like: Tensor) -> Distribution:
        """Return categories with equal probabilities."""
        return self._of(like.new_zeros(1, self.latent_dim, self.categories), like)
