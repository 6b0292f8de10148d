"""What the Concrete posteriors share: temperature, and when latents are hard."""

from collections.abc import Mapping
from typing import Any, ClassVar, TypedDict

from torch import Tensor

from vae_lightning.config.arguments import checked
from vae_lightning.config.errors import InputError
from vae_lightning.config.targets import build
from vae_lightning.posteriors.distribution import Distribution
from vae_lightning.posteriors.posterior import Posterior
from vae_lightning.schedules.schedule import Schedule

__all__ = ["Concrete", "ConcreteOptions"]


class ConcreteOptions(TypedDict, total=False):
    """The arguments of :class:`Concrete`, for the signatures of its subclasses."""

    temperature: float
    schedule: Mapping[str, Any] | None
    straight_through: bool
    kl: str
    relaxed_evaluation: bool


class Concrete(Posterior):
    """Discrete latents, relaxed in training: samples of a continuous distribution that a temperature sharpens.

    In validation, test and all other evaluations, latents are hard, i.e. 0 or 1: losses and log p(x) are those of the
    model with discrete latents.

    Arguments:
        latent_dim: number of latent variables.
        temperature: towards 0 samples become hard, and the variance of their gradient grows.
        schedule: ``_target_``, a :class:`vae_lightning.schedules.Schedule`, and its arguments: the factor of the
            temperature at each optimiser step; None for a constant temperature.
        straight_through: whether latents are hard in training too, with the gradient of the relaxed ones.
        kl: ``"discrete"`` for the KL of the discrete distributions in closed form; ``"relaxed"`` for that of the
            relaxed ones, with which the training loss is a bound for the relaxed model. The densities of relaxed
            samples lose precision at temperatures below 0.5.
        relaxed_evaluation: whether evaluations use relaxed latents too, at the temperature of the last step.

    Raises:
        InputError: if an argument breaks its rule (:mod:`vae_lightning.posteriors.rules`), or ``kl`` is relaxed with
            hard latents.

    References:
        The Concrete Distribution: A Continuous Relaxation of Discrete Random Variables, Maddison, Mnih and Teh, 2017
        (https://arxiv.org/abs/1611.00712). Categorical Reparameterization with Gumbel-Softmax, Jang, Gu and Poole, 2017
        (https://arxiv.org/abs/1611.01144): the discrete KL and the straight-through gradient.
    """

    parts = 1
    factorised = True

    # Distributions of hard latents, of relaxed ones, and of relaxed ones with the KL of the discrete distributions.
    Hard: ClassVar[type[Distribution]]
    Relaxed: ClassVar[type[Distribution]]
    RelaxedWithDiscreteKL: ClassVar[type[Distribution]]

    @checked
    def __init__(
        self,
        latent_dim: int,
        temperature: float = 0.67,
        schedule: Mapping[str, Any] | None = None,
        straight_through: bool = False,
        kl: str = "discrete",
        relaxed_evaluation: bool = False,
    ) -> None:
        super().__init__(latent_dim)
        if straight_through and (kl == "relaxed" or relaxed_evaluation):
            name, value = ("kl", kl) if kl == "relaxed" else ("relaxed_evaluation", relaxed_evaluation)
            raise InputError(f"{name}={value}: must be the default with straight_through, whose latents are hard")
        self.temperature, self.straight_through = temperature, straight_through
        self.relaxed_evaluation = relaxed_evaluation
        self.schedule = None if schedule is None else build("schedule", schedule, Schedule)  # type: ignore[type-abstract]
        self._relaxed = self.Relaxed if kl == "relaxed" else self.RelaxedWithDiscreteKL

    def _of(self, logits: Tensor, like: Tensor) -> Distribution:
        """Return the distribution with these logits, hard or relaxed."""
        factor = 1.0 if self.schedule is None else self.schedule(self.step)
        relaxed = not self.straight_through and (self.training or self.relaxed_evaluation)
        make: Any = self._relaxed if relaxed else self.Hard
        made: Distribution = make(logits, like.new_full([1] * logits.dim(), self.temperature * factor))
        return made
