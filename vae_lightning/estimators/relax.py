"""The score-function gradient with a learned control variate (RELAX)."""

from collections.abc import Sequence

from torch import Tensor, nn

from vae_lightning.config.arguments import checked
from vae_lightning.estimators.rebar import Rebar
from vae_lightning.posteriors.posterior import Posterior

__all__ = ["Relax"]


class Relax(Rebar):
    r"""The gradient of REBAR, with a network added to its control variate.

    .. math:: \big(f(z) - c(\tilde{\zeta})\big) \, \nabla \log q(z|x) + \nabla c(\zeta) - \nabla c(\tilde{\zeta}),
        \qquad c(\zeta) = \eta \, f(\sigma_T(\zeta)) + r_\rho(\sigma_T(\zeta))

    The network r, of one hidden layer for each layer of latents, learns with eta and T to lower the variance, which
    takes a second derivative. The gradient is unbiased whatever the network.

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
            nn.Sequential(nn.Linear(size, self.hidden), nn.Tanh(), nn.Linear(self.hidden, 1))
            for size in posterior.layer_sizes
        )

    def control_variate(self, relaxed: Tensor, cost: Tensor, place: int) -> Tensor:
        networks = self.networks[place](relaxed).squeeze(-1)
        variate: Tensor = super().control_variate(relaxed, cost, place) + networks.unflatten(0, (len(cost), -1)).sum(1)
        return variate
