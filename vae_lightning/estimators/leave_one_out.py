"""The score-function gradient with the other latents of an image as a baseline (RLOO)."""

from collections.abc import Callable

from torch import Tensor

from vae_lightning.config.arguments import checked
from vae_lightning.estimators.estimator import Estimator
from vae_lightning.estimators.gradients import log_posteriors, only_gradient
from vae_lightning.objectives.draws import Draws
from vae_lightning.objectives.objective import Terms

__all__ = ["LeaveOneOut"]


class LeaveOneOut(Estimator):
    r"""The score-function gradient from M independent latents, each with the mean of the others as its baseline.

    .. math:: \frac{1}{M} \sum_m \Big(f(z_m) - \frac{1}{M - 1} \sum_{l \neq m} f(z_l)\Big) \nabla \log q(z_m|x)

    It is unbiased. Each of the M values takes a pass of the decoder, whose gradient is their mean too.

    Arguments:
        samples: M. An objective of K latents is evaluated M times, with K latents each.

    Raises:
        InputError: if ``samples`` breaks its rule (:mod:`vae_lightning.estimators.rules`).

    References:
        Buy 4 REINFORCE Samples, Get a Baseline for Free!, Kool, van Hoof and Welling, 2019
        (https://openreview.net/forum?id=r1lgTGL5DE).
    """

    @checked
    def __init__(self, samples: int = 2) -> None:
        super().__init__()
        self.rows = samples

    def loss(self, objective: Callable[[Draws], Terms], draws: Draws) -> Tensor:
        terms = objective(draws)
        cost = terms.sampled.detach()
        advantage = (cost - cost.mean(0)) * (self.rows / (self.rows - 1))
        return terms.total(draws) + (advantage * only_gradient(log_posteriors(draws, len(cost)))).mean(0)
