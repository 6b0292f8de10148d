"""The CPU: its name, and process-wide settings for speed on it."""

import ctypes
import os
import platform
import re
from contextlib import suppress
from pathlib import Path

import torch

__all__ = ["prepare", "processor"]


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


def processor() -> str:
    """Return the processor's name, with its family and model where the system gives them."""
    with suppress(OSError):
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0]
        found = dict(re.findall(r"^(model name|cpu family|model)\s*: (.*)$", text, re.MULTILINE))
        if name := found.get("model name"):
            return f"{name} (family {found.get('cpu family')}, model {found.get('model')})"
    return platform.processor()
