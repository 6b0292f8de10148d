"""Decoded images, kept on disk for later runs."""

import hashlib
import json
import logging
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from vae_lightning.config.errors import one_line
from vae_lightning.whole_files import whole_file

__all__ = ["cached", "fingerprint"]

log = logging.getLogger(__name__)


def fingerprint(files: list[Path], *options: object) -> str:
    """Return a hash of the paths, sizes and times of files, and of options."""
    stats = [(str(file.absolute()), stat.st_size, stat.st_mtime_ns) for file in files for stat in [file.stat()]]
    return hashlib.sha256(json.dumps([options, stats]).encode()).hexdigest()[:32]


def cached(folder: Path, key: str, decode: Callable[[], NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Return the images of an earlier call with the same key, or decode them and keep them.

    One process decodes, and others wait for it. Images that cannot be read are decoded again, and where the folder
    cannot be written to, a warning says so.

    Arguments:
        folder: where the images are kept, as ``KEY.npz``, with a checksum.
        key: what identifies them.
        decode: returns the images.
    """
    file, found = folder / f"{key}.npz", None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(file.with_suffix(".lock")):
            if file.exists():
                try:
                    with np.load(file, allow_pickle=False) as arrays:
                        images: NDArray[np.uint8] = arrays["images"]
                        return images
                except (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
                    log.warning("%s: damaged (%s); the images are decoded again", file, one_line(error))
            found = decode()
            with whole_file(file) as stream:
                np.savez(stream, images=found)
            log.info("the decoded images are kept in %s", file)
    except OSError as error:
        log.warning("the decoded images are not kept for later runs: %s", one_line(error))
    return decode() if found is None else found
