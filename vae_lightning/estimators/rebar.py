"""The score-function gradient with a relaxation as a control variate (REBAR)."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vae_lightning.config.arguments import checked
from vae_lightning.estimators.estimator import Estimator
from vae_lightning.estimators.gradients import along, follow, only_gradient, over_logits
from vae_lightning.objectives.draws import Draws, masked
from vae_lightning.objectives.objective import Terms
from vae_lightning.posteriors.posterior import Posterior

__all__ = ["Rebar"]


class Rebar(Estimator):
    r"""The score-function gradient, with the objective at relaxed latents as a control variate.

    .. math:: \big(f(z) - c(\tilde{\zeta})\big) \, \nabla \log q(z|x) + \nabla c(\zeta) - \nabla c(\tilde{\zeta}),
        \qquad c(\zeta) = \eta \, f(\sigma_T(\zeta)), \quad \tilde{\zeta} \sim q(\zeta|z)

    The latents z round the perturbed logits zeta, which are also written as a sample under the condition that they
    round to z. Both come from the same noise, so that they are equal, but they depend on the logits in different ways.
    They are relaxed with the temperature T. The gradient is unbiased. The scale eta and the temperature, one of each
    for a layer of latents, are learned: they follow the gradient of the squared estimate of the gradient in each
    image's logits, whose mean is the variance plus a constant. Each step takes two passes of the decoder.

    Arguments:
        temperature: T at first.
        scale: eta at first.
        lr: learning rate of both, with Adam.

    Raises:
        InputError: if an argument breaks its rule (:mod:`vae_lightning.estimators.rules`).

    References:
        REBAR: Low-variance, unbiased gradient estimates for discrete latent variable models, Tucker et al., 2017,
        section 3 (https://arxiv.org/abs/1703.07370).
    """

    posteriors = ("Bernoulli", "Categorical")

    @checked
    def __init__(self, temperature: float = 0.5, scale: float = 1.0, lr: float = 1e-3) -> None:
        super().__init__()
        self.temperature, self.scale, self.lr = temperature, scale, lr

    def prepare(self, posterior: Posterior, image_shape: Sequence[int]) -> None:
        layers = len(posterior.layer_sizes)
        self.log_temperature = nn.Parameter(torch.full((layers,), math.log(self.temperature)))
        self.eta = nn.Parameter(torch.full((layers,), float(self.scale)))

    def optimizers(self) -> list[tuple[Mapping[str, Any], list[str]]]:
        return [({"_target_": "torch.optim.Adam", "lr": self.lr}, [name for name, _ in self.named_parameters()])]

    def control_variate(self, perturbed: Tensor, cost: Tensor, place: int, draws: Draws) -> Tensor:
        """Return the control variate, ``(1, ..., B)``.

        Arguments:
            perturbed: perturbed logits of a layer, ``(S, ..., B, size)``, 0 in padding.
            cost: the objective at the relaxed latents, ``(1, ..., B)``.
            place: index of the layer.
            draws: the draws.
        """
        return self.eta[..., place : place + 1] * cost

    def loss(self, objective: Callable[[Draws], Terms], draws: Draws) -> Tensor:
        terms = objective(draws)
        loss, cost = terms.total(draws), terms.sampled.detach()
        square = cost.new_zeros(())
        for place, layer in enumerate(draws.posterior.layers(draws.z, draws.noise)):
            drawn, noise = layer.distribution, draws.noise[..., layer.columns]
            zeta = drawn.perturbed(noise).detach().requires_grad_()
            logits = drawn.logits.detach().expand_as(zeta).requires_grad_()
            temperature = along(self.log_temperature[..., place : place + 1].exp(), drawn)
            relaxed_cost = objective(draws.at(layer.complete(drawn.relax(zeta, temperature), True))).sampled
            variate = self.control_variate(masked(drawn.flat(zeta), draws.own), relaxed_cost, place, draws)
            (slope,) = torch.autograd.grad(variate.sum(), zeta, create_graph=True)
            at_logits = drawn._replace(logits=logits)
            (score,) = torch.autograd.grad(at_logits.log_prob(layer.z).sum(), logits)
            # Of the samples less the conditional ones.
            paths = at_logits.perturbed(noise) - at_logits.conditional(zeta.detach())
            (path,) = torch.autograd.grad(paths, logits, slope, create_graph=True)
            gradient = along(cost - variate, drawn) * score + path
            loss = loss + follow(drawn, gradient, draws).sum(0)
            # The latents of a bound share their logits, whose gradient is the sum of theirs.
            each = gradient.sum_to_size(drawn.logits.shape).square()
            square = square + over_logits(each, drawn, draws).sum()
        weights = [*self.parameters()]
        for weight, gradient in zip(weights, torch.autograd.grad(square, weights), strict=True):
            # A number for each model of a stack, shared out among its images, whose losses are added up.
            own = (gradient * only_gradient(weight)).flatten(self.eta.dim() - 1).sum(-1, keepdim=True)
            loss = loss + own / max(1, loss.shape[-1])
        return loss
