"""Process-wide settings for speed on a CPU."""

import ctypes
import os
from contextlib import suppress

import torch

__all__ = ["prepare"]


def prepare() -> None:
    """Keep freed memory, and do not look for GPUs at every step."""
    with suppress(AttributeError, OSError, TypeError):  # the C library is not glibc
        # Otherwise a step's temporaries would go back to the system, which clears the memory every time.
        libc = ctypes.CDLL(None)
        libc.mallopt(-3, 32 << 20)  # M_MMAP_THRESHOLD, its maximum
        libc.mallopt(-1, 1 << 30)  # M_TRIM_THRESHOLD
    if not torch.cuda.is_available():
        # Lightning sets this variable. On a machine without NVIDIA's library, torch's optimisers then try to open it at
        # every step to count the GPUs, which takes a tenth of a millisecond or more.
        os.environ.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)
