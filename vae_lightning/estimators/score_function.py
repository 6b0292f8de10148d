"""The score-function gradient (REINFORCE), with a baseline as control variate."""

from torch import Tensor

from vae_lightning.config.arguments import checked
from vae_lightning.distributed import batch_total
from vae_lightning.estimators.estimator import Estimator
from vae_lightning.objectives.draws import Draws
from vae_lightning.objectives.objective import Terms

__all__ = ["ScoreFunction"]


class ScoreFunction(Estimator):
    r"""The gradient from the score of the posterior, also called REINFORCE: unbiased, but noisy.

    .. math:: \nabla \mathbb{E}_q[f(z)] = \mathbb{E}_q[\nabla f(z) + (f(z) - b) \, \nabla \log q(z|x)]

    Arguments:
        baseline: if true, b is the mean of f over the other images of the batch, which do not depend on this image's
            latents, so that the gradient stays unbiased; otherwise b is 0.

    Raises:
        InputError: if ``baseline`` breaks its rule (:mod:`vae_lightning.estimators.rules`).

    References:
        Simple Statistical Gradient-Following Algorithms for Connectionist Reinforcement Learning, Williams, 1992
        (https://doi.org/10.1007/BF00992696). Monte Carlo Gradient Estimation in Machine Learning, Mohamed et al., 2020
        (https://arxiv.org/abs/1906.10652), sections 4 and 7.4.1.
    """

    @checked
    def __init__(self, baseline: bool = False) -> None:
        self.baseline = baseline

    def loss(self, terms: Terms, draws: Draws) -> Tensor:
        advantage = terms.sampled.detach()
        if self.baseline:
            total, count = batch_total(advantage, dim=-1)
            advantage = advantage - (total - advantage) / max(1, count - 1)
        score = draws.log_posterior().sum(0)
        # The difference is 0, but has the gradient of the score.
        return terms.sampled + terms.exact + advantage * (score - score.detach())
