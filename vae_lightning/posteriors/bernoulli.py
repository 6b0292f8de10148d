"""The Bernoulli posterior: binary latents."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from vae_lightning.posteriors.discrete import DiscreteDistribution
from vae_lightning.posteriors.distribution import Distribution
from vae_lightning.posteriors.logistic import LogisticDistribution
from vae_lightning.posteriors.posterior import Posterior

__all__ = ["Bernoulli", "BernoulliDistribution", "BernoulliFormulas", "BernoulliLogits"]


class BernoulliLogits(Distribution):
    """What Bernoulli variables and their relaxation have in common: logits and their perturbation.

    Attributes:
        logits: log-odds of 1, ``(..., B, latent_dim)``.
    """

    __slots__ = ()

    logits: Tensor

    @property
    def mean(self) -> Tensor:
        """The probabilities of 1."""
        return self.logits.sigmoid()

    def perturbed(self, noise: Tensor) -> Tensor:
        """Return the logits plus logistic variables, functions of noise ``(..., B, noise_size)`` from N(0, I)."""
        return self.logits + LogisticDistribution.quantile(noise)

    def relax(self, perturbed: Tensor, temperature: float | Tensor) -> Tensor:
        """Return the Concrete relaxation of samples, ``(..., B, size)``, differentiable in the perturbed logits."""
        return (perturbed / temperature).sigmoid()


class BernoulliFormulas(BernoulliLogits, DiscreteDistribution):
    """The formulas of independent Bernoulli variables, whatever else a distribution holds besides the logits."""

    __slots__ = ()

    def conditional(self, perturbed: Tensor) -> Tensor:
        # Above 0, the perturbed logit is log(1 + v e^a) - log(1 - v) with v uniform; below, it is the mirror image. Its
        # derivative in a is v e^a / (1 + v e^a), here without v.
        slope = (perturbed.sign() * self.logits).sigmoid() * -torch.expm1(-perturbed.abs())
        return perturbed + slope.detach() * (self.logits - self.logits.detach())

    def harden(self, perturbed: Tensor) -> Tensor:
        return (perturbed > 0).to(perturbed)

    def states(self) -> Tensor:
        return self.logits.new_tensor([[0.0], [1.0]])

    def log_probs(self) -> Tensor:
        return torch.stack([F.logsigmoid(-self.logits), F.logsigmoid(self.logits)])

    def log_prob(self, z: Tensor) -> Tensor:
        return z * self.logits - F.softplus(self.logits)

    def kl(self, other: Distribution) -> Tensor | None:
        if not isinstance(other, BernoulliFormulas):
            return None
        logits = self.logits
        return logits.sigmoid() * (logits - other.logits) + F.softplus(other.logits) - F.softplus(logits)


class _Parameters(NamedTuple):
    logits: Tensor


class BernoulliDistribution(_Parameters, BernoulliFormulas):
    """Independent Bernoulli variables, 0 or 1, drawn by inversion.

    Attributes:
        logits: log-odds of 1, ``(..., B, latent_dim)``.
    """

    __slots__ = ()


class Bernoulli(Posterior):
    """Binary latents, with log-odds from the encoder; samples are 0 or 1 and have no derivative.

    The encoder's gradient needs an estimator that does not go through the samples.

    References:
        Neural Variational Inference and Learning in Belief Networks, Mnih and Gregor, 2014
        (https://arxiv.org/abs/1402.0030).
    """

    support = "binary vectors"
    parts = 1
    factorised = True
    any_batch = True
    differentiable = False
    values = 2

    def forward(self, encoded: Tensor) -> BernoulliDistribution:
        return BernoulliDistribution(encoded)

    def standard(self, like: Tensor) -> BernoulliDistribution:
        """Return fair coins."""
        return BernoulliDistribution(like.new_zeros(1, self.latent_dim))
