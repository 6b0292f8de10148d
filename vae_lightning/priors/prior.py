"""The base class of priors."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

__all__ = ["Prior"]


class Prior(nn.Module, ABC):
    """p(z): the distribution of the latent variables before an image is seen."""

    @abstractmethod
    def sample(self, noise: Tensor) -> Tensor:
        """Return latents ``(..., latent_dim)``, a function of noise of the same shape from N(0, I)."""
