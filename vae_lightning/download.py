"""Files from mirrors: each appears only when it is whole and right."""

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

CONTACT_SECONDS = 8  # for all mirrors together to answer
STALL_SECONDS = 30  # without a byte, and a download is given up


class Download(NamedTuple):
    """A file's name at a mirror, its MD5 and, if it is a zip, the files in it that are wanted."""

    name: str
    md5: str
    members: Sequence[str] = ()


def fetch(downloads: Sequence[Download], mirrors: Sequence[str], folder: Path) -> None:
    """Download files into a folder, each from the first mirror that has it; of a zip the wanted files alone are kept.

    Arguments:
        downloads: what is wanted.
        mirrors: URLs that end in a slash; all must answer within some seconds to be asked for files.
        folder: where the files go.

    Raises:
        ConnectionError: if no mirror has a file; it tells of each what went wrong.
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
    """A URL or a folder as a URL that ends in a slash."""
    url = mirror if "://" in mirror else Path(mirror).expanduser().resolve().as_uri()
    return url.rstrip("/") + "/"


def _contact(urls: list[str]) -> list[str | None]:
    """Ask for all at once; for each None if it answers in time, else why not.

    Threads, since neither a name's look-up nor several addresses in turn obey one time limit.
    """
    problems: list[str | None] = [f"no answer within {CONTACT_SECONDS} s"] * len(urls)

    def ask(place: int) -> None:
        try:
            with urllib.request.urlopen(urls[place], timeout=CONTACT_SECONDS):
                problems[place] = None
        except (OSError, ValueError) as error:
            problems[place] = str(getattr(error, "reason", error))

    threads = [threading.Thread(target=ask, args=[place], daemon=True) for place in range(len(urls))]
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
            raise ValueError(f"{part.name}: its MD5 is {found}, and must be {download.md5}")
        whole = [part]
        if download.members:
            with zipfile.ZipFile(part) as archive:
                whole = [Path(archive.extract(member, scratch)) for member in download.members]
        for file_ in whole:
            os.replace(file_, folder / file_.name)
