"""The base class of priors."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Protocol

from torch import Tensor, nn

from vae_lightning.posteriors.distribution import Distribution
from vae_lightning.posteriors.posterior import Posterior

__all__ = ["Encoding", "Prior"]


class Encoding(Protocol):
    """The part of a model that a prior may use."""

    posterior: Posterior

    def encode(self, images: Tensor, /) -> Distribution: ...


class Prior(nn.Module, ABC):
    """p(z): the distribution of the latents before an image is seen.

    A subclass takes ``latent_dim``, ``image_shape`` and plain values, and may have weights of its own, which are
    trained with the model's.

    Arguments:
        latent_dim: number of latent variables.
        image_shape: ``(C, H, W)``.
    """

    # The set of values of the latents, as Posterior.support; None: that of any posterior.
    support: str | None = None

    # Whether latents are independent of each other if the posterior's are; the KL is then by dimension, and a stack can
    # hold models with other latent_dims.
    factorised: ClassVar[bool] = False

    # Whether the prior encodes images of its own, without labels.
    encodes: ClassVar[bool] = False

    # Whether the latent variables must be independent of each other in the posterior.
    independent: ClassVar[bool] = False

    # As Posterior.any_batch: set by each class, not inherited.
    any_batch: ClassVar[bool] = False

    def __init__(self, latent_dim: int, image_shape: Sequence[int]) -> None:
        super().__init__()
        self.latent_dim, self.image_shape = latent_dim, tuple(image_shape)

    def prepare(self, posterior: Posterior) -> None:
        """Make the weights that depend on the posterior's family, from torch's global generator.

        Arguments:
            posterior: the family of the latents.
        """

    @abstractmethod
    def forward(self, model: Encoding, like: Tensor) -> Distribution:
        """Return the distribution of the latents, the same for all images.

        Arguments:
            model: the model, whose encoder and posterior the prior may use.
            like: a tensor with the dtype and the device of the model.

        Returns:
            A distribution with tensors ``(1, ...)``, which broadcast with those of any images; weights are
            ``(in, out)``.
        """

    def images(self) -> Tensor | None:
        """Return the images ``(N, C, H, W)`` that the prior has learned; None if it has none."""
        return None
