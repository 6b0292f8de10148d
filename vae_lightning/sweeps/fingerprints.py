"""Fingerprints of jobs, which identify complete jobs without composing their configurations."""

import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from vae_lightning.config.errors import InputError
from vae_lightning.runs.directory import JOB, job_folders, read_json, read_metrics

__all__ = ["complete_jobs", "fingerprint", "fingerprints"]


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
    """Return the :func:`fingerprint` of each of several jobs, reading the files only once."""
    files = []
    for source in sources:
        if source.schema == "file":
            for file in sorted(Path(source.path).rglob("*.yaml")):
                content = file.read_text(encoding="utf-8")
                named = [os.environ.get(name) for name in re.findall(r"oc\.env:(\w+)", content)]
                files.append(repr((str(file.relative_to(source.path)), content, named)))
    return [hashlib.sha256("".join([repr(sorted(overrides)), *files]).encode()).hexdigest() for overrides in jobs]


def complete_jobs(sweep: Path) -> set[str]:
    """Return the fingerprints of the complete jobs in a sweep's folder."""
    complete = set()
    for job in job_folders(sweep):
        with suppress(InputError):  # a damaged file: the job runs again, which writes it anew
            if read_metrics(job) is not None:
                complete.add(str(read_json(job / JOB).get("fingerprint")))
    return complete
