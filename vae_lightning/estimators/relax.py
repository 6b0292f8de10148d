"""The score-function gradient with a learned control variate (RELAX)."""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn

from vae_lightning.config.arguments import checked
from vae_lightning.estimators.rebar import Rebar
from vae_lightning.objectives.draws import Draws
from vae_lightning.posteriors.posterior import Posterior

__all__ = ["Relax"]


class Relax(Rebar):
    r"""The gradient of REBAR, with a network added to its control variate.

    .. math:: \big(f(z) - c(\tilde{\zeta})\big) \, \nabla \log q(z|x) + \nabla c(\zeta) - \nabla c(\tilde{\zeta}),
        \qquad c(\zeta) = \eta \, f(\sigma_T(\zeta)) + r_\rho(x, \zeta)

    The network r, of one hidden layer for each layer of latents, sees the image and the perturbed logits zeta, as in
    the article's source code. It learns with eta and T to lower the variance, which takes a second derivative. The
    gradient is unbiased whatever the network.

    Arguments:
        temperature: T at first.
        scale: eta at first.
        hidden: width of the hidden layer.
        lr: learning rate of all three, with Adam.

    Raises:
        InputError: if an argument breaks its rule (:mod:`vae_lightning.estimators.rules`).

    References:
        Backpropagation through the Void: Optimizing control variates for black-box gradient estimation, Grathwohl et
        al., 2018, sections 3 and 4.2 (https://arxiv.org/abs/1711.00123).
    """

    @checked
    def __init__(self, temperature: float = 0.5, scale: float = 1.0, hidden: int = 100, lr: float = 1e-3) -> None:
        super().__init__(temperature, scale, lr)
        self.hidden = hidden

    def prepare(self, posterior: Posterior, image_shape: Sequence[int]) -> None:
        super().prepare(posterior, image_shape)
        self.networks = nn.ModuleList(
            nn.Sequential(nn.Linear(prod(image_shape) + size, self.hidden), nn.Tanh(), nn.Linear(self.hidden, 1))
            for size in posterior.layer_sizes
        )

    def control_variate(self, perturbed: Tensor, cost: Tensor, place: int, draws: Draws) -> Tensor:
        pixels = draws.images.flatten(-3).expand(*perturbed.shape[:-1], -1)
        # The latents come last, because a stack pads them at the end.
        values: Tensor = self.networks[place](torch.cat([pixels, perturbed], -1)).squeeze(-1)
        added: Tensor = values.unflatten(0, (len(cost), -1)).sum(1)
        return super().control_variate(perturbed, cost, place, draws) + added
