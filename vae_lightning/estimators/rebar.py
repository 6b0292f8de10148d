"""The score-function gradient with a relaxation as a control variate (REBAR)."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vae_lightning.config.arguments import checked
from vae_lightning.estimators.estimator import Estimator
from vae_lightning.estimators.gradients import along, follow, only_gradient
from vae_lightning.objectives.draws import Draws, masked
from vae_lightning.objectives.objective import Terms
from vae_lightning.posteriors.distribution import Distribution
from vae_lightning.posteriors.posterior import Posterior

__all__ = ["Rebar"]


class Rebar(Estimator):
    r"""The score-function gradient, with the objective at relaxed latents as a control variate.

    .. math:: \big(f(z) - c(\tilde{\zeta})\big) \, \nabla \log q(z|x) + \nabla c(\zeta) - \nabla c(\tilde{\zeta}),
        \qquad c(\zeta) = \eta \, f(\sigma_T(\zeta))

    The latents z round the perturbed logits, which are drawn a second time under the condition that they round to z.
    Both are relaxed with the temperature T, and differentiable. The gradient is unbiased. The scale eta and the
    temperature are learned: they follow the gradient of the squared estimate of the gradient in each image's logits,
    whose mean is the variance plus a constant. Each step takes three passes of the decoder.

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
    rows = 2

    @checked
    def __init__(self, temperature: float = 0.5, scale: float = 1.0, lr: float = 1e-3) -> None:
        super().__init__()
        self.temperature, self.scale, self.lr = temperature, scale, lr

    def prepare(self, posterior: Posterior, image_shape: Sequence[int]) -> None:
        self.log_temperature = nn.Parameter(torch.full((1,), math.log(self.temperature)))
        self.eta = nn.Parameter(torch.full((1,), float(self.scale)))

    def optimizers(self) -> list[tuple[Mapping[str, Any], list[str]]]:
        return [({"_target_": "torch.optim.Adam", "lr": self.lr}, [name for name, _ in self.named_parameters()])]

    def sample(self, posterior: Distribution, noise: Tensor) -> tuple[Tensor, Tensor | None]:
        return super().sample(posterior, noise.chunk(2)[0])

    def control_variate(self, relaxed: Tensor, cost: Tensor, place: int) -> Tensor:
        """Return the control variate, ``(1, ..., B)``.

        Arguments:
            relaxed: relaxed latents of a layer, ``(S, ..., B, size)``.
            cost: the objective there, ``(1, ..., B)``.
            place: index of the layer.
        """
        return self.eta * cost

    def loss(self, objective: Callable[[Draws], Terms], draws: Draws) -> Tensor:
        noise, other_noise = draws.noise.chunk(2)
        terms = objective(draws)
        loss, cost = terms.total(draws), terms.sampled.detach()
        weights = [*self.parameters()]
        square = cost.new_zeros(())
        for place, layer in enumerate(draws.posterior.layers(draws.z, noise)):
            drawn, columns = layer.distribution, layer.columns
            temperature = along(self.log_temperature.exp(), drawn)
            logits = drawn.logits.detach().expand_as(drawn.perturbed(noise[..., columns])).requires_grad_()
            at_logits = drawn._replace(logits=logits)
            variates = []
            for perturbed in (
                at_logits.perturbed(noise[..., columns]),
                at_logits.conditional(layer.z, other_noise[..., columns]),
            ):
                relaxed = masked(drawn.relax(perturbed, temperature), draws.own)
                relaxed_cost = objective(draws.at(layer.complete(relaxed, True))).sampled
                variates.append(self.control_variate(relaxed, relaxed_cost, place))
            free, conditional = variates
            (score,) = torch.autograd.grad(at_logits.log_prob(layer.z).sum(), logits)
            (path,) = torch.autograd.grad((free - conditional).sum(), logits, create_graph=True)
            gradient = along(cost - conditional, drawn) * score + path
            loss = loss + follow(drawn, gradient, draws).sum(0)
            # The latents of a bound share their logits, whose gradient is the sum of theirs.
            each = gradient.sum_to_size(drawn.logits.shape).square()
            square = square + draws.sum(each if drawn.event_dims is None else each.sum(-1)).sum()
        for weight, gradient in zip(weights, torch.autograd.grad(square, weights), strict=True):
            # A number for each model of a stack, shared out among its images, whose losses are added up.
            own = (gradient * only_gradient(weight)).flatten(loss.dim() - 1).sum(-1, keepdim=True)
            loss = loss + own / max(1, loss.shape[-1])
        return loss
