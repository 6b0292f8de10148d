"""The environment of a run: versions, source, machine, command."""

import os
import platform
import shlex
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from vae_lightning.config.hydra_versions import register_resolver

__all__ = ["cores", "environment"]

# Variables that identify an engine's job, or the part of the cluster that it runs on.
ENGINE_VARIABLES = ("RAY_RAYLET_PID", "SLURM_JOB_ID", "SUBMITIT_LOCAL_JOB_ID")


def environment() -> dict[str, Any]:
    """Return the environment, on which metrics depend besides the configuration: versions, source, machine, command."""
    import torch

    from vae_lightning.cpu import processor

    packages = ("vae-lightning", "torch", "torchvision", "lightning", "hydra-core", "numpy")
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "directory": os.getcwd(),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in packages}},
        "git": {"commit": _git("rev-parse", "HEAD"), "changes": _git("status", "--porcelain")},
        "process": os.getpid(),
        "engine": {name: os.environ[name] for name in ENGINE_VARIABLES if name in os.environ},
        "machine": {
            "host": platform.node(),
            "platform": platform.platform(),
            "processor": processor(),
            "cores": cores(),
            "threads": torch.get_num_threads(),
            "gpus": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
        },
    }


def cores() -> int:
    """Return the number of CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


# Both are found once in a process, whose code stays that of its start.
@cache
def _version(package: str) -> str | None:
    # A source tree on the path has no metadata.
    try:
        return version(package)
    except PackageNotFoundError:
        return None


@cache
def _git(*arguments: str) -> str | None:
    """Return git's output about the package's own source; None if that is not a checkout."""
    source = Path(__file__).parent
    with suppress(OSError, subprocess.SubprocessError):
        tracked = subprocess.run(
            ["git", "ls-files", "--error-unmatch", __file__], cwd=source, capture_output=True, timeout=10
        )
        if tracked.returncode == 0:
            done = subprocess.run(
                ["git", *arguments], cwd=source, capture_output=True, text=True, timeout=10, check=True
            )
            return done.stdout.strip()
    return None


# The number of jobs with `each` cores that this machine has room for.
register_resolver("cores_over", lambda each: max(1, cores() // each), replace=True)
