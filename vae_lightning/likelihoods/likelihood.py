"""The base class of likelihoods."""

import math
from abc import ABC, abstractmethod
from typing import ClassVar

from torch import Tensor, nn

from vae_lightning.config.errors import InputError

__all__ = ["Likelihood"]


class Likelihood(nn.Module, ABC):
    """p(x|z) of independent pixels, given the decoder's output, one number per pixel (``logits``)."""

    # The meaning of log p(x) under this likelihood, for readers of an evaluation.
    meaning: str

    # Whether the methods accept any number of leading batch dimensions, those of learned parameters included: a stack
    # then evaluates all models at once. Each class sets this itself; it is not inherited.
    any_batch: ClassVar[bool] = False

    # The smallest and the largest value of a pixel that has a density or probability.
    support: ClassVar[tuple[float, float]] = (-math.inf, math.inf)

    def check_support(self, images: Tensor) -> None:
        """Refuse images with values that are not finite or outside :attr:`support`.

        Raises:
            InputError: with the range of the values.
        """
        if images.numel() == 0:
            return
        (low, high), (lowest, highest) = (bound.item() for bound in images.aminmax()), self.support
        if not (math.isfinite(low) and math.isfinite(high) and lowest <= low and high <= highest):
            allowed = "finite" if math.isinf(lowest) else f"in [{lowest:g}, {highest:g}]"
            raise InputError(
                f"images with values from {low:g} to {high:g}: must be {allowed} for likelihood={type(self).__name__}"
            )

    @abstractmethod
    def nll(self, logits: Tensor, images: Tensor) -> Tensor:
        """Return -log p(x|z) summed over the pixels, in nats per image, ``(...)``.

        Arguments:
            logits: ``(..., C, H, W)``.
            images: values in :attr:`support`, of the same shape or one that expands to it.
        """

    def mean(self, logits: Tensor) -> Tensor:
        """Return the expected image, in [0, 1], of the same shape."""
        return logits.sigmoid()
