"""Binary latents and their relaxation."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from vae_lightning.posteriors.bernoulli import BernoulliDistribution, BernoulliFormulas, BernoulliLogits
from vae_lightning.posteriors.concrete import Concrete
from vae_lightning.posteriors.distribution import Distribution

__all__ = ["ConcreteBernoulli", "RelaxedBernoulliDistribution", "StraightThroughBernoulliDistribution"]


class _Parameters(NamedTuple):
    logits: Tensor
    temperature: Tensor


class RelaxedBernoulliDistribution(_Parameters, BernoulliLogits):
    r"""Independent binary Concrete variables.

    .. math:: z = \sigma\left(\frac{a + \log u - \log(1 - u)}{T}\right)

    Attributes:
        logits: a, the log-odds of 1, ``(..., B, latent_dim)``.
        temperature: T, ``(..., 1, 1)``.
    """

    __slots__ = ()

    shared = ("temperature",)

    def rsample(self, noise: Tensor) -> Tensor:
        return self.relax(self.perturbed(noise), self.temperature)

    def log_prob(self, z: Tensor) -> Tensor:
        tiny = torch.finfo(z.dtype)
        z = z.clamp(tiny.tiny, 1 - tiny.eps)  # where it has been rounded to 0 or 1
        shifted = self.logits - self.temperature * (z.log() - torch.log1p(-z))
        return F.logsigmoid(shifted) + F.logsigmoid(-shifted) + self.temperature.log() - z.log() - torch.log1p(-z)


class RelaxedBernoulliWithDiscreteKL(RelaxedBernoulliDistribution):
    """Binary Concrete variables, whose KL is that of the Bernoulli variables with the same logits."""

    __slots__ = ()

    def kl(self, other: Distribution) -> Tensor | None:
        if not isinstance(other, RelaxedBernoulliDistribution):
            return None
        return BernoulliDistribution(self.logits).kl(BernoulliDistribution(other.logits))


class StraightThroughBernoulliDistribution(_Parameters, BernoulliFormulas):
    """Independent Bernoulli variables: 0 or 1, with the gradient of their relaxation.

    Attributes:
        logits: log-odds of 1, ``(..., B, latent_dim)``.
        temperature: the temperature of the relaxation, ``(..., 1, 1)``.
    """

    __slots__ = ()

    shared = ("temperature",)

    def rsample(self, noise: Tensor) -> Tensor:
        relaxed = RelaxedBernoulliDistribution(*self).rsample(noise)
        return (relaxed.detach() > 0.5).to(relaxed) + (relaxed - relaxed.detach())


class ConcreteBernoulli(Concrete):
    """Binary latents, with log-odds from the encoder; arguments and errors are those of :class:`Concrete`."""

    support = "binary vectors"
    any_batch = True
    values = 2
    Hard, Relaxed = StraightThroughBernoulliDistribution, RelaxedBernoulliDistribution
    RelaxedWithDiscreteKL = RelaxedBernoulliWithDiscreteKL

    def forward(self, encoded: Tensor) -> Distribution:
        return self._of(encoded, encoded)

    def standard(self, like: Tensor) -> Distribution:
        """Return fair coins."""
        return self._of(like.new_zeros(1, self.latent_dim), like)
