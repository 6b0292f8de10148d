"""What a process does once to be fast on a CPU, where a step of a small model takes a millisecond or two."""

import ctypes
import os
from contextlib import suppress

import torch

__all__ = ["prepare"]


def prepare() -> None:
    """Keep memory that is freed, and do not look for GPUs at every step."""
    with suppress(AttributeError, OSError, TypeError):  # another C library than glibc
        # A step's temporaries would go back to the system, and be cleared every time.
        libc = ctypes.CDLL(None)
        libc.mallopt(-3, 32 << 20)  # M_MMAP_THRESHOLD, its greatest value
        libc.mallopt(-1, 1 << 30)  # M_TRIM_THRESHOLD
    if not torch.cuda.is_available():
        # Lightning sets it, and torch's optimisers then open NVIDIA's library at every step, where there is none, to
        # learn the number of GPUs: a tenth of a millisecond and more.
        os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)
