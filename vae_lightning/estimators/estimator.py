"""The base class of gradient estimators."""

from abc import ABC, abstractmethod

from torch import Tensor

from vae_lightning.objectives.draws import Draws
from vae_lightning.objectives.objective import Terms

__all__ = ["Estimator"]


class Estimator(ABC):
    """An estimator of the gradient of an objective's expectation over latents."""

    # Whether the latents are differentiable functions of the posterior's parameters, or detached.
    reparameterized: bool = False

    @abstractmethod
    def loss(self, terms: Terms, draws: Draws) -> Tensor:
        """Return the objective for each image, ``(..., B)``, with a gradient that is the estimate."""
