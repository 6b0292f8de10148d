"""The score-function gradient (REINFORCE), with a baseline as control variate."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vae_lightning.config.arguments import checked
from vae_lightning.distributed import batch_total
from vae_lightning.estimators.estimator import Estimator
from vae_lightning.estimators.gradients import log_posteriors, only_gradient
from vae_lightning.objectives.draws import Draws
from vae_lightning.objectives.objective import Terms
from vae_lightning.posteriors.posterior import Posterior

__all__ = ["MOVING_AVERAGE", "ScoreFunction"]

# A step of gradient descent on half the squared distance from a value: a moving average with the decay 0.9.
MOVING_AVERAGE: Mapping[str, Any] = {"_target_": "torch.optim.SGD", "lr": 0.1}


class ScoreFunction(Estimator):
    r"""The gradient from the score of the posterior, also called REINFORCE: unbiased, but noisy.

    .. math:: \nabla \mathbb{E}_q[f(z)] = \mathbb{E}_q[\nabla f(z) + (f(z) - b) \, \nabla \log q(z|x)]

    Arguments:
        baseline: b. ``"batch_mean"``, or true: the mean of f over the other images of the batch, which do not depend on
            this image's latents. ``"moving_average"``: that of f over the steps so far, with the decay 0.9. Both leave
            the gradient unbiased. ``"none"``, or false: 0.

    Raises:
        InputError: if ``baseline`` breaks its rule (:mod:`vae_lightning.estimators.rules`).

    References:
        Simple Statistical Gradient-Following Algorithms for Connectionist Reinforcement Learning, Williams, 1992
        (https://doi.org/10.1007/BF00992696). Monte Carlo Gradient Estimation in Machine Learning, Mohamed et al., 2020
        (https://arxiv.org/abs/1906.10652), sections 4 and 7.4.1.
    """

    @checked
    def __init__(self, baseline: bool | str = False) -> None:
        super().__init__()
        names: dict[bool | str, str] = {False: "none", True: "batch_mean"}
        self.baseline = names.get(baseline, str(baseline))

    def prepare(self, posterior: Posterior, image_shape: Sequence[int]) -> None:
        if self.baseline == "moving_average":
            self.average = nn.Parameter(torch.zeros(1))

    def optimizers(self) -> list[tuple[Mapping[str, Any], list[str]]]:
        return [(MOVING_AVERAGE, ["average"])] if self.baseline == "moving_average" else []

    def loss(self, objective: Callable[[Draws], Terms], draws: Draws) -> Tensor:
        terms = objective(draws)
        cost = terms.sampled.detach()
        advantage, own = cost, None
        if self.baseline == "batch_mean":
            total, count = batch_total(cost, dim=-1)
            advantage = cost - (total - cost) / max(1, count - 1)
        elif self.baseline == "moving_average":
            advantage = cost - self.average.detach()
            own = 0.5 * (cost - self.average).square()
        score = log_posteriors(draws, len(cost))
        loss = terms.total(draws) + draws.mean(advantage * only_gradient(score))
        return loss if own is None else loss + draws.mean(only_gradient(own))
