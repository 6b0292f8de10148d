"""The categorical posterior: one-hot latents."""

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from vae_lightning.config.arguments import checked
from vae_lightning.posteriors.discrete import DiscreteDistribution
from vae_lightning.posteriors.distribution import Distribution
from vae_lightning.posteriors.log_ndtr import log_ndtr
from vae_lightning.posteriors.posterior import Posterior

__all__ = ["Categorical", "CategoricalDistribution", "CategoricalFormulas", "CategoricalLogits"]


class CategoricalLogits(Distribution):
    """What categorical variables, side by side, and their relaxation have in common: logits and their perturbation.

    Attributes:
        logits: logarithms of the probabilities up to a constant, ``(..., B, latent_dim, categories)``.
    """

    __slots__ = ()

    logits: Tensor

    @property
    def noise_size(self) -> int:
        return self.logits.shape[-2] * self.logits.shape[-1]

    @property
    def mean(self) -> Tensor:
        """The probabilities of the categories."""
        return self.logits.softmax(-1).flatten(-2)

    def by_variable(self, z: Tensor) -> Tensor:
        """Return latents, or noise, ``(..., size)``, as ``(..., latent_dim, categories)``."""
        by_variable: Tensor = z.unflatten(-1, self.logits.shape[-2:])
        return by_variable

    def perturbed(self, noise: Tensor) -> Tensor:
        """Return the logits plus Gumbel variables, functions of noise ``(..., B, noise_size)`` from N(0, I)."""
        return self.logits - torch.log(-log_ndtr(self.by_variable(noise)))

    def relax(self, perturbed: Tensor, temperature: float | Tensor) -> Tensor:
        """Return the Concrete relaxation of samples, ``(..., B, size)``, differentiable in the perturbed logits."""
        return (perturbed / temperature).softmax(-1).flatten(-2)


class CategoricalFormulas(CategoricalLogits, DiscreteDistribution):
    """The formulas of independent categorical variables, one-hot vectors side by side, with logits and maybe more."""

    __slots__ = ()

    def conditional(self, perturbed: Tensor) -> Tensor:
        # The largest perturbed logit moves with log(sum(e^a)), whatever its place. All others are Gumbel variables cut
        # off there: -log(E / p + e^-largest) with E exponential and the probability p, here without E.
        log_probs = self.logits.log_softmax(-1)
        share = torch.exp(perturbed - perturbed.amax(-1, keepdim=True))
        return perturbed + (self.logits - self.logits.detach()) - share.detach() * (log_probs - log_probs.detach())

    def harden(self, perturbed: Tensor) -> Tensor:
        return F.one_hot(perturbed.argmax(-1), perturbed.shape[-1]).to(perturbed).flatten(-2)

    def states(self) -> Tensor:
        return torch.eye(self.logits.shape[-1]).to(self.logits)

    def log_probs(self) -> Tensor:
        return self.logits.log_softmax(-1).movedim(-1, 0)

    def log_prob(self, z: Tensor) -> Tensor:
        log_prob: Tensor = (self.by_variable(z) * self.logits.log_softmax(-1)).sum(-1)
        return log_prob

    def kl(self, other: Distribution) -> Tensor | None:
        if not isinstance(other, CategoricalFormulas):
            return None
        log_ratios = self.logits.log_softmax(-1) - other.logits.log_softmax(-1)
        return (self.logits.softmax(-1) * log_ratios).sum(-1)


class _Parameters(NamedTuple):
    logits: Tensor


class CategoricalDistribution(_Parameters, CategoricalFormulas):
    """Independent categorical variables as one-hot vectors side by side, drawn by the Gumbel-max trick.

    Attributes:
        logits: logarithms of the probabilities up to a constant, ``(..., B, latent_dim, categories)``.
    """

    __slots__ = ()

    event_dims: ClassVar[tuple[int, ...]] = (2,)


class Categorical(Posterior):
    """Categorical latents, each a one-hot vector, with logits from the encoder; samples have no derivative.

    The encoder's gradient needs an estimator that does not go through the samples.

    Arguments:
        latent_dim: number of latent variables.
        categories: number of categories of each.

    Raises:
        InputError: if ``categories`` breaks its rule (:mod:`vae_lightning.posteriors.rules`).

    References:
        Categorical Reparameterization with Gumbel-Softmax, Jang, Gu and Poole, 2017, section 2
        (https://arxiv.org/abs/1611.01144): the Gumbel-max trick.
    """

    support = "one-hot vectors"
    parts = 1
    factorised = True
    any_batch = True
    differentiable = False

    @checked
    def __init__(self, latent_dim: int, categories: int = 10) -> None:
        super().__init__(latent_dim)
        self.categories = self.values = categories

    @property
    def size(self) -> int:
        return self.latent_dim * self.categories

    def forward(self, encoded: Tensor) -> CategoricalDistribution:
        return CategoricalDistribution(encoded.unflatten(-1, (self.latent_dim, self.categories)))

    def standard(self, like: Tensor) -> CategoricalDistribution:
        """Return categories with equal probabilities."""
        return CategoricalDistribution(like.new_zeros(1, self.latent_dim, self.categories))
