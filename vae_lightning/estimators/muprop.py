"""The score-function gradient with a Taylor expansion as a control variate (MuProp)."""

from collections.abc import Callable

import torch
from torch import Tensor

from vae_lightning.estimators.estimator import Estimator
from vae_lightning.estimators.gradients import only_gradient
from vae_lightning.objectives.draws import Draws
from vae_lightning.objectives.objective import Terms

__all__ = ["MuProp"]


class MuProp(Estimator):
    r"""The score-function gradient of what a first-order Taylor expansion around the mean leaves of the objective.

    .. math:: \big(f(z) - h(z)\big) \, \nabla \log q(z|x) + f'(\bar{z}) \, \nabla \bar{z},
        \qquad h(z) = f(\bar{z}) + f'(\bar{z})^T (z - \bar{z})

    The mean of each latent variable is differentiable, so that the gradient of the expansion is known. It is unbiased,
    and takes a second pass of the decoder. With several stochastic layers, each has its own expansion, and those after
    it follow as means.

    References:
        MuProp: Unbiased Backpropagation for Stochastic Neural Networks, Gu et al., 2016, section 3
        (https://arxiv.org/abs/1511.05176).
    """

    posteriors = ("Bernoulli", "Categorical")

    def loss(self, objective: Callable[[Draws], Terms], draws: Draws) -> Tensor:
        terms = objective(draws)
        loss, cost = terms.total(draws), terms.sampled.detach()
        for layer in draws.posterior.layers(draws.z, draws.noise):
            mean = layer.distribution.mean.expand(layer.z.shape)
            centre = mean.detach().requires_grad_()
            at_mean = objective(draws.at(layer.complete(centre, True))).sampled
            (slope,) = torch.autograd.grad(at_mean.sum(), centre)
            expansion = at_mean.detach() + (slope * (layer.z - centre.detach())).sum(-1).sum(0)
            score = draws.sum(layer.distribution.log_prob(layer.z)).sum(0)
            loss = loss + ((cost - expansion) * only_gradient(score)).mean(0)
            loss = loss + (slope * only_gradient(mean)).sum(-1).sum(0)
        return loss
