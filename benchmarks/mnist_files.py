"""MNIST's four files, as torchvision wants them."""

import gzip
from pathlib import Path


def unpack(root: Path, folder: Path) -> None:
    """Unpack the gzipped files in ``root`` to where torchvision's MNIST looks for them in ``folder``."""
    raw = folder / "MNIST/raw"
    raw.mkdir(parents=True)
    for file in root.glob("*-ubyte.gz"):
        (raw / file.stem).write_bytes(gzip.decompress(file.read_bytes()))
