"""The negative ELBO with a weighted KL (beta-VAE)."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from vae_lightning.config.arguments import checked
from vae_lightning.config.targets import build
from vae_lightning.objectives.draws import Draws
from vae_lightning.objectives.objective import Objective, Terms
from vae_lightning.schedules.schedule import Schedule

__all__ = ["BetaELBO"]


class BetaELBO(Objective):
    """Reconstruction + beta * KL, where beta may warm up.

    Arguments:
        beta: weight of the KL; 1 gives the negative ELBO.
        schedule: ``_target_``, a :class:`vae_lightning.schedules.Schedule`, and its arguments: the factor of beta at
            each optimiser step; None for a constant beta.

    Raises:
        InputError: if an argument breaks its rule (:mod:`vae_lightning.objectives.rules`).

    References:
        beta-VAE: Learning Basic Visual Concepts with a Constrained Variational Framework, Higgins et al., 2017
        (https://openreview.net/forum?id=Sy2fzU9gl). Warm-up: Ladder Variational Autoencoders, Sonderby et al., 2016
        (https://arxiv.org/abs/1602.02282).
    """

    FREE = ("beta",)

    @checked
    def __init__(self, beta: float = 1.0, schedule: Mapping[str, Any] | None = None) -> None:
        self.beta: float | Tensor = beta
        self.schedule = None if schedule is None else build("schedule", schedule, Schedule)  # type: ignore[type-abstract]

    def __call__(self, draws: Draws, step: int) -> Terms:
        kl = draws.kl.sum(-1)
        beta = torch.as_tensor(self.beta, dtype=kl.dtype, device=kl.device)
        return Terms.of(draws, (beta if self.schedule is None else beta * self.schedule(step)) * kl)
