"""The base class of gradient estimators."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

from torch import Tensor, nn

from vae_lightning.config.errors import InputError
from vae_lightning.estimators.rules import several_latents, through_latents
from vae_lightning.objectives.draws import Draws
from vae_lightning.objectives.objective import Objective, Terms
from vae_lightning.posteriors.distribution import Distribution
from vae_lightning.posteriors.posterior import Posterior

__all__ = ["Estimator"]


class Estimator(nn.Module):
    """An estimator of the gradient of an objective's expectation over latents.

    A subclass takes plain values. It draws the latents in :meth:`sample` and defines the gradient in :meth:`loss`. Both
    accept any dimensions between those of the latents and of the images: these are the models of a stack. A subclass
    may have weights of its own, those of a control variate, made in :meth:`prepare`. In a stack, their first
    dimension is that of the models, and linear layers are batched.
    """

    # Whether the latents are differentiable functions of the posterior's parameters, or detached. rules.REPARAMETERIZED
    # repeats it.
    reparameterized: bool = False

    # Number of rows of noise per image for each latent of the objective.
    rows: int = 1

    # Names of the families of posteriors with which the estimator works; None: all. rules.POSTERIORS repeats them.
    posteriors: ClassVar[tuple[str, ...] | None] = None

    # Whether it needs an objective of a single latent. rules.SINGLE repeats it.
    single: ClassVar[bool] = False

    def __init__(self) -> None:
        super().__init__()

    def check(self, objective: Objective) -> None:
        """Refuse an objective that does not go with the estimator.

        Raises:
            InputError: naming both.
        """
        estimator, name = type(self).__name__, type(objective).__name__
        if objective.reparameterized and not self.reparameterized:
            raise InputError(through_latents(estimator, name))
        if self.single and objective.samples > 1:
            raise InputError(several_latents(estimator, name, objective.samples))

    def prepare(self, posterior: Posterior, image_shape: Sequence[int]) -> None:
        """Make the estimator's own weights for a model, from torch's global generator.

        Arguments:
            posterior: the family of the latents.
            image_shape: ``(C, H, W)``.
        """

    def optimizers(self) -> list[tuple[Mapping[str, Any], list[str]]]:
        """Return the optimisers of the estimator's own weights: ``_target_`` with its arguments, and the names."""
        return []

    def sample(self, posterior: Distribution, noise: Tensor) -> tuple[Tensor, Tensor | None]:
        """Draw latents in training.

        Arguments:
            posterior: the posteriors of the images.
            noise: ``(R, ..., B, noise_size)`` from N(0, I): ``rows`` for each latent of the objective.

        Returns:
            The latents, ``(S, ..., B, size)``; the logarithm of their density as :meth:`Distribution.log_prob` returns
            it, without the dimension S if S is 1, if it comes at no cost, otherwise None.
        """
        single = len(noise) == 1
        # A single latent has no dimension of its own, because some networks handle only one batch dimension.
        rows = noise[0] if single else noise
        log_posterior = None
        if self.reparameterized and type(posterior).kl is Distribution.kl:
            z, log_posterior = posterior.rsample_and_log_prob(rows)
        else:
            z = posterior.rsample(rows)
        if not self.reparameterized:
            z = z.detach()
        return (z[None], log_posterior) if single else (z, log_posterior)

    def weights(self, draws: Draws) -> Tensor | None:
        """Return the share of each latent in a mean, ``(S, ..., B)``; None if all have the same."""
        return None

    def loss(self, objective: Callable[[Draws], Terms], draws: Draws) -> Tensor:
        """Return the objective for each image, ``(..., B)``, with a gradient that is the estimate.

        By default, that is the gradient through whatever :meth:`sample` and :meth:`weights` are differentiable in. The
        estimator's own weights get the gradient of their own loss.

        Arguments:
            objective: the terms of the objective at the current step, as a function of draws.
            draws: the draws of a batch.
        """
        return objective(draws).total(draws)
