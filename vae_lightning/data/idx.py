"""The IDX file format."""

import gzip
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import IO, cast

import numpy as np
from numpy.typing import NDArray

from vae_lightning.config.errors import InputError, one_line

__all__ = ["idx_shape", "read_idx", "unpacked"]


@contextmanager
def unpacked(path: Path | zipfile.Path) -> Iterator[IO[bytes]]:
    """Open a file for reading, decompressed if its name ends in ``.gz``.

    Raises:
        InputError: naming the file, if reading it fails, also inside the ``with`` block.
    """
    try:
        with path.open("rb") as file:
            if path.name.endswith(".gz"):
                with gzip.open(file) as stream:
                    yield cast(IO[bytes], stream)  # gzip's stream is one, but its type does not say so
            else:
                yield file
    except InputError:
        raise
    except Exception as error:  # a damaged or hostile file can raise errors of many types
        raise InputError(f"{path}: {one_line(error)}; replace it or remove it") from error


def idx_shape(stream: IO[bytes]) -> tuple[int, ...]:
    """Read the shape from the header.

    Raises:
        ValueError: if it is not the header of an IDX file of unsigned bytes.
    """
    magic = stream.read(4)
    sizes = stream.read(4 * magic[3]) if magic[:3] == b"\0\0\x08" and len(magic) == 4 else b""
    if not sizes or len(sizes) < 4 * magic[3]:
        raise ValueError(f"it is not an IDX file of bytes: its header is {(magic + sizes).hex() or 'empty'}")
    return tuple(np.frombuffer(sizes, ">u4").tolist())


def read_idx(stream: IO[bytes]) -> NDArray[np.uint8]:
    """Read an array of bytes.

    Raises:
        ValueError: if it is not an IDX file of unsigned bytes, or is shorter or longer than its header indicates.

    References:
        The MNIST database of handwritten digits, LeCun, Cortes and Burges (http://yann.lecun.com/exdb/mnist/).
    """
    shape = idx_shape(stream)
    content = stream.read(prod(shape) + 1)  # not more, because a small gzipped file can hold any number
    if len(content) != prod(shape):
        found = "more" if len(content) > prod(shape) else f"{len(content):,}"
        raise ValueError(f"its header gives the shape {shape}, {prod(shape):,} bytes, but {found} follow")
    return np.frombuffer(bytearray(content), np.uint8).reshape(shape)
