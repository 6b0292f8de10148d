"""How the encoder gets its gradient through the latents, which are drawn at random."""

from abc import ABC, abstractmethod

from torch import Tensor

from vae_lightning.checks import SCORE_FUNCTION, check
from vae_lightning.objectives.draws import Draws
from vae_lightning.objectives.objective import Terms
from vae_lightning.processes import batch_total

__all__ = ["Estimator", "NoGradient", "Reparameterization", "ScoreFunction"]


class Estimator(ABC):
    """What is differentiated for the gradient of an objective's expectation over latents."""

    # Whether the latents it is given are differentiable functions of mu and logvar, or mere numbers.
    reparameterized: bool = False

    @abstractmethod
    def loss(self, terms: Terms, draws: Draws) -> Tensor:
        """What is differentiated: the objective's value for each image, ``(..., B)``, with the estimator's gradient."""


class Reparameterization(Estimator):
    """The gradient goes through the latents, deterministic functions of mu, logvar and noise from outside.

    References:
        Auto-Encoding Variational Bayes, Kingma and Welling, 2014, section 2.4 (https://arxiv.org/abs/1312.6114).
    """

    reparameterized = True

    def loss(self, terms: Terms, draws: Draws) -> Tensor:
        return terms.sampled + terms.exact


class NoGradient(Estimator):
    """No gradient through the latents, as if they had been drawn from N(mu, exp(logvar)) by a random generator.

    The encoder then learns from the KL alone. It is for comparison.
    """

    def loss(self, terms: Terms, draws: Draws) -> Tensor:
        return terms.sampled + terms.exact


class ScoreFunction(Estimator):
    r"""The gradient by the score of the posterior, also called REINFORCE: unbiased, and noisy.

    .. math:: \nabla \mathbb{E}_q[f(z)] = \mathbb{E}_q[\nabla f(z) + (f(z) - b) \, \nabla \log q(z|x)]

    Arguments:
        baseline: if true, b is the mean of f over the other images of the batch, which do not depend on this image's
            latents, so that the gradient stays unbiased; else 0.

    Raises:
        InputError: if it is not what :mod:`vae_lightning.checks` allows.

    References:
        Simple Statistical Gradient-Following Algorithms for Connectionist Reinforcement Learning, Williams, 1992
        (https://doi.org/10.1007/BF00992696). Monte Carlo Gradient Estimation in Machine Learning, Mohamed et al., 2020
        (https://arxiv.org/abs/1906.10652), sections 4 and 7.4.1.
    """

    def __init__(self, baseline: bool = False) -> None:
        check({"baseline": baseline}, SCORE_FUNCTION)
        self.baseline = baseline

    def loss(self, terms: Terms, draws: Draws) -> Tensor:
        advantage = terms.sampled.detach()
        if self.baseline:
            total, count = batch_total(advantage, dim=-1)
            advantage = advantage - (total - advantage) / max(1, count - 1)
        score = draws.log_posterior().sum(0)
        # The difference is 0, and has the score's gradient.
        return terms.sampled + terms.exact + advantage * (score - score.detach())
