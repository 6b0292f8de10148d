"""Binary latents and their relaxation."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from vae_lightning.posteriors.concrete import Concrete
from vae_lightning.posteriors.distribution import Distribution
from vae_lightning.posteriors.logistic import LogisticDistribution

__all__ = ["BernoulliDistribution", "ConcreteBernoulli", "RelaxedBernoulliDistribution"]


class _Parameters(NamedTuple):
    logits: Tensor
    temperature: Tensor


class RelaxedBernoulliDistribution(_Parameters, Distribution):
    r"""Independent binary Concrete variables.

    .. math:: z = \sigma\left(\frac{a + \log u - \log(1 - u)}{T}\right)

    Attributes:
        logits: a, the log-odds of 1, ``(..., B, latent_dim)``.
        temperature: T, ``(..., 1, 1)``.
    """

    __slots__ = ()

    shared = ("temperature",)

    @property
    def mean(self) -> Tensor:
        """The probabilities of 1."""
        return self.logits.sigmoid()

    def rsample(self, noise: Tensor) -> Tensor:
        return ((self.logits + LogisticDistribution.quantile(noise)) / self.temperature).sigmoid()

    def log_prob(self, z: Tensor) -> Tensor:
        tiny = torch.finfo(z.dtype)
        z = z.clamp(tiny.tiny, 1 - tiny.eps)  # where it has been rounded to 0 or 1
        shifted = self.logits - self.temperature * (z.log() - torch.log1p(-z))
        return F.logsigmoid(shifted) + F.logsigmoid(-shifted) + self.temperature.log() - z.log() - torch.log1p(-z)


def _bernoulli_kl(logits: Tensor, other: Tensor) -> Tensor:
    return logits.sigmoid() * (logits - other) + F.softplus(other) - F.softplus(logits)


class RelaxedBernoulliWithDiscreteKL(RelaxedBernoulliDistribution):
    """Binary Concrete variables, whose KL is that of the Bernoulli variables with the same logits."""

    __slots__ = ()

    def kl(self, other: Distribution) -> Tensor | None:
        return _bernoulli_kl(self.logits, other.logits) if isinstance(other, RelaxedBernoulliDistribution) else None


class BernoulliDistribution(_Parameters, Distribution):
    """Independent Bernoulli variables: 0 or 1, with the gradient of their relaxation.

    Attributes:
        logits: log-odds of 1, ``(..., B, latent_dim)``.
        temperature: the temperature of the relaxation, ``(..., 1, 1)``.
    """

    __slots__ = ()

    shared = ("temperature",)
    mean = RelaxedBernoulliDistribution.mean

    def rsample(self, noise: Tensor) -> Tensor:
        relaxed = RelaxedBernoulliDistribution(*self).rsample(noise)
        return (relaxed.detach() > 0.5).to(relaxed) + (relaxed - relaxed.detach())

    def log_prob(self, z: Tensor) -> Tensor:
        return z * self.logits - F.softplus(self.logits)

    def kl(self, other: Distribution) -> Tensor | None:
        return _bernoulli_kl(self.logits, other.logits) if isinstance(other, BernoulliDistribution) else None


class ConcreteBernoulli(Concrete):
    """Binary latents, with log-odds from the encoder; arguments and errors are those of :class:`Concrete`."""

    support = "binary vectors"
    any_batch = True
    Hard, Relaxed = BernoulliDistribution, RelaxedBernoulliDistribution
    RelaxedWithDiscreteKL = RelaxedBernoulliWithDiscreteKL

    def forward(self, encoded: Tensor) -> Distribution:
        return self._of(encoded, encoded)

    def standard(self, like: Tensor) -> Distribution:
        """Return fair coins."""
        return self._of(like.new_zeros(1, self.latent_dim), like)
