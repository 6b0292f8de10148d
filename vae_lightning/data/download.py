"""Downloads from mirrors."""

import hashlib
import os
import shutil
import tempfile
import threading
import time
import urllib.request
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

__all__ = ["Download", "as_url", "fetch"]

CONTACT_SECONDS = 8  # time limit for all mirrors together to answer
STALL_SECONDS = 30  # a download is abandoned after this time without data


class Download(NamedTuple):
    """A file on a mirror: its name, its MD5 and, for a zip archive, the members to keep."""

    name: str
    md5: str
    members: Sequence[str] = ()


def fetch(downloads: Sequence[Download], mirrors: Sequence[str], folder: Path) -> None:
    """Download files into a folder, each from the first mirror that has it; keep only the listed members of archives.

    Arguments:
        downloads: the files.
        mirrors: URLs that end in a slash; a mirror that does not answer within ``CONTACT_SECONDS`` is skipped.
        folder: destination of the files.

    Raises:
        ConnectionError: if no mirror has a file; the message lists the problem with each mirror.
        PermissionError: if the folder cannot be written to.
    """
    answers = _contact([f"{mirror}{downloads[0].name}" for mirror in mirrors])
    working = [mirror for mirror, problem in zip(mirrors, answers, strict=True) if problem is None]
    problems = [f"{mirror} ({problem})" for mirror, problem in zip(mirrors, answers, strict=True) if problem]
    for download in downloads:
        for mirror in working:
            try:
                _download(mirror, download, folder)
                break
            except PermissionError:
                raise
            except (OSError, ValueError) as error:
                problems.append(f"{mirror} ({error})")
        else:
            raise ConnectionError("; ".join(problems))


def as_url(mirror: str) -> str:
    """Convert a URL or the path of a folder to a URL that ends in a slash."""
    url = mirror if "://" in mirror else Path(mirror).expanduser().resolve().as_uri()
    return url.rstrip("/") + "/"


def _contact(urls: list[str]) -> list[str | None]:
    """Request all URLs at once; return None for each one that answers in time, otherwise the reason.

    Threads enforce the time limit: the timeout of ``urlopen`` covers neither the DNS look-up nor several addresses
    tried in turn.
    """
    problems: list[str | None] = [f"no answer within {CONTACT_SECONDS} s"] * len(urls)

    def request(index: int) -> None:
        try:
            with urllib.request.urlopen(urls[index], timeout=CONTACT_SECONDS):
                problems[index] = None
        except (OSError, ValueError) as error:
            problems[index] = str(getattr(error, "reason", error))

    threads = [threading.Thread(target=request, args=[index], daemon=True) for index in range(len(urls))]
    deadline = time.monotonic() + CONTACT_SECONDS
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return list(problems)


def _download(mirror: str, download: Download, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        part = Path(scratch) / download.name
        with urllib.request.urlopen(f"{mirror}{part.name}", timeout=STALL_SECONDS) as response, part.open("wb") as file:
            total = int(response.headers.get("Content-Length") or 0) or None
            with tqdm.wrapattr(response, "read", total=total, desc=part.name, disable=None) as counted:
                shutil.copyfileobj(counted, file)
        with part.open("rb") as file:
            found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        if found != download.md5:
            raise ValueError(f"{part.name}: its MD5 is {found}, but must be {download.md5}")
        kept = [part]
        if download.members:
            with zipfile.ZipFile(part) as archive:
                kept = [Path(archive.extract(member, scratch)) for member in download.members]
        for path in kept:
            os.replace(path, folder / path.name)
