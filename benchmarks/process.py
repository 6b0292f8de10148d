"""A process of its own, with its time and its peak memory."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

TRAIN = [sys.executable, "-m", "vae_lightning.commands.train"]


class Measured(NamedTuple):
    """What a process took.

    Attributes:
        seconds: by the clock, from its start to its end.
        mib: the largest resident memory of the process or of one that it started, in MiB.
        shown: its output.
    """

    seconds: float
    mib: float
    shown: str


def measure(command: Sequence[str], folder: Path, variables: Mapping[str, str] | None = None) -> Measured:
    """Run a command in a folder; return its time, its peak memory and its output.

    The memory is that of the caller at least, because the system counts the new process before it has loaded its own
    program. A benchmark that calls this must not import torch.

    Arguments:
        command: the program and its arguments.
        folder: its working directory.
        variables: environment variables, in addition to those of the caller.
    """
    assert "torch" not in sys.modules, "the caller's memory would count"
    with tempfile.TemporaryFile("w+") as output:
        began = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=folder, env=os.environ | (variables or {}), stdout=output, stderr=subprocess.STDOUT
        )
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        shown = output.read()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: status {process.returncode}\n{shown[-4000:]}")
    return Measured(seconds, used.ru_maxrss / 1024, shown)
