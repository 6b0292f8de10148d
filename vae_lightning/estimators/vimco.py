"""The score-function gradient of the importance-weighted bound with its own baselines (VIMCO)."""

from collections.abc import Callable

from torch import Tensor

from vae_lightning.config.errors import InputError
from vae_lightning.estimators.estimator import Estimator
from vae_lightning.estimators.gradients import only_gradient
from vae_lightning.estimators.rules import needs_bound
from vae_lightning.objectives.draws import Draws
from vae_lightning.objectives.iwae import IWAE
from vae_lightning.objectives.objective import Objective, Terms

__all__ = ["VIMCO"]


class VIMCO(Estimator):
    r"""The score-function gradient of the importance-weighted bound, with a baseline for each of its K latents.

    .. math:: -\sum_k \big(L - L_{-k}\big) \, \nabla \log q(z_k|x) - \sum_k \tilde{w}_k \nabla \log w_k,
        \qquad L = \log \frac{1}{K} \sum_k w_k

    In L_{-k}, the weight of the k-th latent is the geometric mean of the others, so that it does not depend on that
    latent. It is unbiased.

    References:
        Variational Inference for Monte Carlo Objectives, Mnih and Rezende, 2016, equations 8 to 10
        (https://arxiv.org/abs/1602.06725).
    """

    def check(self, objective: Objective) -> None:
        if not isinstance(objective, IWAE) or objective.samples < 2 or objective.reparameterized:
            raise InputError(needs_bound(type(self).__name__, type(objective).__name__))

    def loss(self, objective: Callable[[Draws], Terms], draws: Draws) -> Tensor:
        terms, log_weights = objective(draws), draws.log_weights().detach()
        count = len(log_weights)
        others = (log_weights.sum(0) - log_weights) / (count - 1)
        # (K, K, ..., B): in the k-th row, the k-th weight is replaced.
        replaced = log_weights.expand(count, *log_weights.shape).clone()
        index = range(count)
        replaced[index, index] = others
        advantage = log_weights.logsumexp(0) - replaced.logsumexp(1)
        # The bound is a loss, so the signs are reversed.
        return terms.total(draws) - (advantage * only_gradient(draws.log_posterior())).sum(0)
