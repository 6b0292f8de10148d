"""Fingerprints of jobs, which identify complete jobs without composing their configurations."""

import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from vae_lightning.config.errors import InputError
from vae_lightning.runs.directory import JOB, job_folders, read_json, read_metrics

__all__ = ["complete_jobs", "fingerprint", "fingerprints", "read_files"]


def fingerprint(sources: Iterable[Any], overrides: Sequence[str]) -> str:
    """Return a hash of everything that a job's configuration is composed of.

    It covers all YAML files of the search path, the environment variables that they name, and the overrides. Jobs with
    the same fingerprint have the same configuration; the converse need not hold.

    Arguments:
        sources: Hydra's ``runtime.config_sources``, each with a ``schema`` and a ``path``.
        overrides: the job's overrides, as ``key=value``.
    """
    return fingerprints(sources, [overrides])[0]


def fingerprints(sources: Iterable[Any], jobs: Iterable[Sequence[str]]) -> list[str]:
    """Return the :func:`fingerprint` of each of several jobs."""
    files = []
    for source in sources:
        if source.schema == "file":
            for file, content, names in read_files(source.path):
                files.append(repr((file, content, [os.environ.get(name) for name in names])))
    return [hashlib.sha256("".join([repr(sorted(overrides)), *files]).encode()).hexdigest() for overrides in jobs]


@cache
def read_files(folder: str) -> list[tuple[str, str, list[str]]]:
    """Return the path and the content of each YAML file in a folder, and the environment variables that it names.

    They are those of the first call in this process, because jobs are composed of the files as they were when the sweep
    began; a new sweep calls ``cache_clear``.
    """
    found = []
    for file in sorted(Path(folder).rglob("*.yaml")):
        content = file.read_text(encoding="utf-8")
        found.append((str(file.relative_to(folder)), content, re.findall(r"oc\.env:(\w+)", content)))
    return found


def complete_jobs(sweep: Path) -> set[str]:
    """Return the fingerprints of the complete jobs in a sweep's folder."""
    complete = set()
    for job in job_folders(sweep):
        with suppress(InputError):  # a damaged file: the job runs again, which writes it anew
            if read_metrics(job) is not None:
                complete.add(str(read_json(job / JOB).get("fingerprint")))
    return complete
