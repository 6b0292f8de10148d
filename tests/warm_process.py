"""Commands in processes of their own that have imported torch and Lightning already: most of a short command's time."""

import atexit
import json
import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from multiprocessing.process import BaseProcess
from pathlib import Path

__all__ = ["begin_command", "run_command"]

# A server, itself without threads, from which every command is forked. It imports nothing of this package.
_context = multiprocessing.get_context("forkserver")
_context.set_forkserver_preload(["torch", "lightning.pytorch", "torchvision", "matplotlib.figure", "warm_process"])


def begin_command(
    module: str, *arguments: str, cwd: Path, out: Path, err: Path, env: Mapping[str, str] | None = None
) -> BaseProcess:
    """Begin ``python -m MODULE``, with nothing on its standard input, and its output at the end of files."""
    variables = json.dumps(dict(env or os.environ))
    process = _context.Process(target=_run, args=(module, arguments, str(cwd), variables, out, err))
    process.start()
    return process


def run_command(
    name: str, *arguments: str, cwd: Path, env: Mapping[str, str] | None = None, timeout: float = 300
) -> subprocess.CompletedProcess[str]:
    """Run ``python -m vae_lightning.commands.NAME``, with nothing on its standard input."""
    with tempfile.TemporaryDirectory() as scratch:
        files = [Path(scratch) / stream for stream in ("stdout", "stderr")]
        module = f"vae_lightning.commands.{name}"
        process = begin_command(module, *arguments, cwd=cwd, out=files[0], err=files[1], env=env)
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired([name, *arguments], timeout)
        out, err = (file.read_text() for file in files)
    return subprocess.CompletedProcess([name, *arguments], process.exitcode, out, err)


def _run(module: str, arguments: tuple[str, ...], cwd: str, env: str, out: Path, err: Path) -> None:
    for number, path, mode in (
        (0, os.devnull, os.O_RDONLY),
        (1, out, os.O_WRONLY | os.O_CREAT | os.O_APPEND),
        (2, err, os.O_WRONLY | os.O_CREAT | os.O_APPEND),
    ):
        opened = os.open(path, mode)
        os.dup2(opened, number)
        os.close(opened)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(json.loads(env))
    own = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:] = [cwd, *filter(None, own), *(path for path in sys.path if path not in (cwd, *own))]
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        atexit._run_exitfuncs()
