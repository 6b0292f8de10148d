"""The gradient of the mean in place of the sample's (straight-through)."""

from typing import Any

from torch import Tensor

from vae_lightning.estimators.estimator import Estimator
from vae_lightning.estimators.gradients import only_gradient
from vae_lightning.posteriors.discrete import DiscreteDistribution

__all__ = ["StraightThrough"]


class StraightThrough(Estimator):
    r"""The gradient through a sample as if it were the mean of its distribution: biased, with a low variance.

    .. math:: f'(z) \, \nabla \bar{z}, \qquad \bar{z} = \sigma(a) \text{ for Bernoulli variables}

    References:
        Estimating or Propagating Gradients Through Stochastic Neurons for Conditional Computation, Bengio, Leonard and
        Courville, 2013 (https://arxiv.org/abs/1308.3432).
    """

    posteriors = ("Bernoulli", "Categorical")
    single = True

    def sample(self, posterior: Any, noise: Tensor) -> tuple[Tensor, Tensor | None]:
        def through(layer: DiscreteDistribution, noise: Tensor) -> Tensor:
            return layer.hard(noise) + only_gradient(layer.mean)

        return posterior.drawn(noise, through), None
