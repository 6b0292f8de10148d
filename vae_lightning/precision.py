"""Numerical precision of sums and logged values."""

from typing import Any

import torch
from torch import Tensor

__all__ = ["at_least_single", "in_double_precision", "in_single_precision", "sum_in_double"]


def sum_in_double(values: Tensor) -> Tensor:
    """Sum over the last dimension in double precision (on Apple's GPUs, which have none, in single)."""
    return values.sum(-1, dtype=torch.float32 if values.device.type == "mps" else torch.float64)


def in_double_precision(value: Any) -> Tensor:
    """Convert numbers to a double-precision tensor; Lightning would log a plain number in single precision."""
    return torch.as_tensor(value, dtype=torch.float64)


def at_least_single(values: Tensor) -> Tensor:
    """Convert half precision to single, because torch's special functions and solvers do not support it."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def in_single_precision(values: Tensor) -> Tensor:
    """Convert a network's output to single precision under autocast; sums over pixels need it."""
    return values.float() if torch.is_autocast_enabled(values.device.type) else values
