"""A run directory: what it holds, and files that are there whole or not at all."""

import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

__all__ = [
    "CONFIG",
    "ENVIRONMENT",
    "EVALUATION",
    "METRICS",
    "checkpoint_path",
    "environment",
    "write_file",
    "write_json",
]

CONFIG = Path(".hydra/config.yaml")  # what ran, every value resolved
ENVIRONMENT = Path("environment.json")
METRICS = Path("metrics.json")  # written last: if it is there, the run is complete
EVALUATION = Path("evaluation.json")


def checkpoint_path(run: Path, which: str) -> Path:
    """Where the run's ``last`` or ``best`` checkpoint is."""
    return run / "checkpoints" / f"{which}.ckpt"


def write_file(path: Path, content: str) -> None:
    """Write a file so that a crash leaves the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    with part.open("w") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(part, path)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a mapping as readable JSON, as :func:`write_file` does."""
    write_file(path, json.dumps(content, indent=2) + "\n")


def environment() -> dict[str, Any]:
    """What a number may depend on beside the configuration: versions, source, machine, command."""
    import torch

    packages = ("vae-lightning", "torch", "torchvision", "lightning", "hydra-core", "scikit-learn", "numpy")
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "directory": os.getcwd(),
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in packages}},
        "git": {"commit": _git("rev-parse", "HEAD"), "changes": _git("status", "--porcelain")},
        "machine": {
            "platform": platform.platform(),
            "processor": _processor(),
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "threads": torch.get_num_threads(),
            "gpus": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
        },
    }


def _version(package: str) -> str | None:
    # A source tree on the path has no metadata.
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git(*arguments: str) -> str | None:
    """What git says of the package's own source; None where that is no checkout."""
    source = Path(__file__).parent
    with suppress(OSError, subprocess.SubprocessError):
        tracked = subprocess.run(
            ["git", "ls-files", "--error-unmatch", __file__], cwd=source, capture_output=True, timeout=10
        )
        if tracked.returncode == 0:
            said = subprocess.run(
                ["git", *arguments], cwd=source, capture_output=True, text=True, timeout=10, check=True
            )
            return said.stdout.strip()
    return None


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor()
