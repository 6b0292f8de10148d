"""The pathwise gradient of a relaxation (Gumbel-softmax, Concrete)."""

from typing import Any

from torch import Tensor

from vae_lightning.config.arguments import checked
from vae_lightning.estimators.estimator import Estimator
from vae_lightning.estimators.gradients import only_gradient
from vae_lightning.posteriors.discrete import DiscreteDistribution

__all__ = ["GumbelSoftmax"]


class GumbelSoftmax(Estimator):
    r"""The pathwise gradient of the objective at relaxed latents, in place of the hard ones: biased.

    .. math:: \nabla f(\sigma_T(\zeta))

    The perturbed logits round to the hard latents; they are relaxed with the temperature T. The training loss is that
    of the relaxed latents (of the hard ones with ``hard``), and the KL that of the discrete distributions. Evaluations
    use hard latents.

    Arguments:
        temperature: T; towards 0, the bias falls and the variance grows.
        hard: whether the latents are hard in training too, with the gradient of the relaxed ones (straight-through
            Gumbel-softmax).

    Raises:
        InputError: if an argument breaks its rule (:mod:`vae_lightning.estimators.rules`).

    References:
        Categorical Reparameterization with Gumbel-Softmax, Jang, Gu and Poole, 2017 (https://arxiv.org/abs/1611.01144).
        The Concrete Distribution: A Continuous Relaxation of Discrete Random Variables, Maddison, Mnih and Teh, 2017
        (https://arxiv.org/abs/1611.00712).
    """

    posteriors = ("Bernoulli", "Categorical")
    single = True

    @checked
    def __init__(self, temperature: float = 0.67, hard: bool = False) -> None:
        super().__init__()
        self.temperature, self.hard = temperature, hard

    def sample(self, posterior: Any, noise: Tensor) -> tuple[Tensor, Tensor | None]:
        def relaxed(layer: DiscreteDistribution, noise: Tensor) -> Tensor:
            perturbed = layer.perturbed(noise)
            relaxed = layer.relax(perturbed, self.temperature)
            return layer.harden(perturbed).detach() + only_gradient(relaxed) if self.hard else relaxed

        return posterior.drawn(noise, relaxed), None
