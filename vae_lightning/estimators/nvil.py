"""The score-function gradient with a learned baseline (NVIL)."""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from vae_lightning.config.arguments import checked
from vae_lightning.estimators.estimator import Estimator
from vae_lightning.estimators.gradients import log_posteriors, only_gradient
from vae_lightning.estimators.score_function import MOVING_AVERAGE
from vae_lightning.objectives.draws import Draws
from vae_lightning.objectives.objective import Terms
from vae_lightning.posteriors.posterior import Posterior

__all__ = ["NVIL"]


class NVIL(Estimator):
    r"""The score-function gradient with a baseline that a network predicts from the image, and a moving average.

    .. math:: \big(f(z) - b_\psi(x) - c\big) \, \nabla \log q(z|x)

    The network, of one hidden layer with tanh, learns to predict f, by least squares; c is the moving average of what
    the network leaves of f, with the decay 0.9. It is unbiased. The article also divides the difference by a running
    standard deviation where that is above 1, which changes the gradient's scale; that is left out.

    Arguments:
        hidden: width of the hidden layer.
        lr: learning rate of the network, with Adam.

    Raises:
        InputError: if an argument breaks its rule (:mod:`vae_lightning.estimators.rules`).

    References:
        Neural Variational Inference and Learning in Belief Networks, Mnih and Gregor, 2014, section 3
        (https://arxiv.org/abs/1402.0030).
    """

    @checked
    def __init__(self, hidden: int = 100, lr: float = 1e-3) -> None:
        super().__init__()
        self.hidden, self.lr = hidden, lr

    def prepare(self, posterior: Posterior, image_shape: Sequence[int]) -> None:
        self.average = nn.Parameter(torch.zeros(1))
        self.network = nn.Sequential(
            nn.Flatten(start_dim=-len(image_shape)),
            nn.Linear(prod(image_shape), self.hidden),
            nn.Tanh(),
            nn.Linear(self.hidden, 1),
        )

    def optimizers(self) -> list[tuple[Mapping[str, Any], list[str]]]:
        network = [name for name, _ in self.named_parameters() if name != "average"]
        return [(MOVING_AVERAGE, ["average"]), ({"_target_": "torch.optim.Adam", "lr": self.lr}, network)]

    def loss(self, objective: Callable[[Draws], Terms], draws: Draws) -> Tensor:
        terms = objective(draws)
        cost = terms.sampled.detach()
        error = cost - self.network(draws.images).squeeze(-1) - self.average
        score = only_gradient(log_posteriors(draws, len(cost)))
        added: Tensor = error.detach() * score + only_gradient(0.5 * error.square())
        return terms.total(draws) + added.mean(0)
