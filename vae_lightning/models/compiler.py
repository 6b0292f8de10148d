"""The compiler that torch.compile needs."""

import logging
from importlib.util import find_spec

from vae_lightning.config.errors import InputError, one_line

__all__ = ["check_compiler"]


def check_compiler(device: str) -> None:
    """Refuse to compile for a device without a compiler.

    Raises:
        InputError: saying what is missing.
    """
    if device != "cpu":
        if find_spec("triton") is None:
            raise InputError(f"compile: must be false on {device}, because triton is not installed")
        return
    # On a machine without CUDA it would warn about that.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    from torch._inductor.cpp_builder import get_cpp_compiler  # takes a second

    try:
        get_cpp_compiler()
    except Exception as error:  # torch raises its own types
        raise InputError(f"compile: must be false, because there is no C++ compiler: {one_line(error)}") from error
