"""Atomic writes: a file is complete or absent."""

import io
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from uuid import uuid4

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["COMPRESSION", "leftovers", "whole_file", "write_figure", "write_file", "write_json"]


# zlib's level for PNG files: the default makes them 6 % smaller and takes twice as long.
COMPRESSION = 4


@contextmanager
def whole_file(path: Path) -> Iterator[IO[bytes]]:
    """Open a file to be written atomically: a crash or an error leaves either the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # A unique name, because parallel jobs of a sweep, possibly on several machines, may write the same file.
    part = path.with_name(f"{path.name}.{uuid4().hex[:8]}.part")
    try:
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException as error:
        part.unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename = str(path)  # of a full disk, the system gives no name
        raise


def write_file(path: Path, content: str | bytes) -> None:
    """Write a file as :func:`whole_file` does."""
    with whole_file(path) as file:
        file.write(content if isinstance(content, bytes) else content.encode())


def write_figure(path: Path, figure: "Figure") -> bytes:
    """Write a figure as a PNG file, as :func:`write_file` does, and return the file's content."""
    content = io.BytesIO()
    figure.savefig(content, format="png", pil_kwargs={"compress_level": COMPRESSION})
    write_file(path, content.getvalue())
    return content.getvalue()


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a mapping as readable JSON, as :func:`write_file` does."""
    write_file(path, json.dumps(content, indent=2) + "\n")


def leftovers(folder: Path) -> Iterator[Path]:
    """Yield the temporary files that killed writes of files and checkpoints have left in a folder and below it."""
    for path in folder.rglob("*.part"):
        if re.fullmatch(r".+\.([0-9a-f]{8}|ckpt)\.part", path.name):
            yield path
