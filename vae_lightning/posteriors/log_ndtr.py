"""The logarithm of the normal distribution function, in any precision."""

import torch
from torch import Tensor

from vae_lightning.precision import at_least_single

__all__ = ["log_ndtr"]


def log_ndtr(x: Tensor) -> Tensor:
    """Return log Phi(x), precise in both tails: the logarithm of the uniform variable that N(0, 1) noise stands for."""
    result: Tensor = torch.special.log_ndtr(at_least_single(x))
    return result.to(x)
