"""The base class of likelihoods."""

from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

__all__ = ["Likelihood"]


class Likelihood(nn.Module, ABC):
    """p(x|z) of independent pixels, given the decoder's output, one number per pixel (``logits``)."""

    # The meaning of log p(x) under this likelihood, for readers of an evaluation.
    meaning: str

    # Whether the methods accept any number of leading batch dimensions, those of learned parameters included: a stack
    # then evaluates all models at once. Each class sets this itself; it is not inherited.
    any_batch: ClassVar[bool] = False

    @abstractmethod
    def nll(self, logits: Tensor, images: Tensor) -> Tensor:
        """Return -log p(x|z) summed over the pixels, in nats per image, ``(...)``.

        Arguments:
            logits: ``(..., C, H, W)``.
            images: values in [0, 1], of the same shape or one that expands to it.
        """

    def mean(self, logits: Tensor) -> Tensor:
        """Return the expected image, in [0, 1], of the same shape."""
        return logits.sigmoid()
