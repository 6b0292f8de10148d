"""IDX, the format of MNIST's files: bytes, after a header that tells their shape."""

import gzip
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import IO, cast

import numpy as np
from numpy.typing import NDArray

from vae_lightning.checks import InputError

__all__ = ["idx_shape", "read_idx", "unpacked"]


@contextmanager
def unpacked(path: Path | zipfile.Path) -> Iterator[IO[bytes]]:
    """A file's content, unzipped if its name ends in ``.gz``.

    Raises:
        InputError: with the file's name, for whatever goes wrong in reading, within the ``with`` too.
    """
    try:
        with path.open("rb") as file:
            if path.name.endswith(".gz"):
                with gzip.open(file) as stream:
                    yield cast(IO[bytes], stream)  # which it is, though no type checker knows
            else:
                yield file
    except InputError:
        raise
    except (OSError, EOFError, MemoryError, RuntimeError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: {reason}; replace it or remove it") from error


def idx_shape(stream: IO[bytes]) -> tuple[int, ...]:
    """Read the header.

    Raises:
        ValueError: if it is not that of an IDX file of unsigned bytes.
    """
    magic = stream.read(4)
    sizes = stream.read(4 * magic[3]) if magic[:3] == b"\0\0\x08" and len(magic) == 4 else b""
    if not sizes or len(sizes) < 4 * magic[3]:
        raise ValueError(
            f"it does not begin as an IDX file of bytes does, but with {(magic + sizes).hex() or 'nothing'}"
        )
    return tuple(np.frombuffer(sizes, ">u4").tolist())


def read_idx(stream: IO[bytes]) -> NDArray[np.uint8]:
    """The bytes in their shape.

    Raises:
        ValueError: if it is not an IDX file of unsigned bytes, or shorter or longer than its header says.

    References:
        The MNIST database of handwritten digits, LeCun, Cortes and Burges (http://yann.lecun.com/exdb/mnist/).
    """
    shape = idx_shape(stream)
    content = stream.read()
    if len(content) != prod(shape):
        raise ValueError(f"its header says {shape}, {prod(shape):,} bytes, and {len(content):,} follow")
    return np.frombuffer(bytearray(content), np.uint8).reshape(shape)
