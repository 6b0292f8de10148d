"""The console scripts: each reacts at once, and imports its command only then."""

import atexit
import gc
import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module

from vae_lightning.deferred_imports import defer_imports
from vae_lightning.signals import interruptible
from vae_lightning.terminal import announce, prepare_streams

__all__ = ["encode", "evaluate", "explore", "export", "report", "started", "train"]


def train() -> None:
    """Run vae-train."""
    _run("vae-train", "train")


def evaluate() -> None:
    """Run vae-eval."""
    _run("vae-eval", "evaluate")


def encode() -> None:
    """Run vae-encode."""
    _run("vae-encode", "encode")


def explore() -> None:
    """Run vae-explore."""
    _run("vae-explore", "explore")


def export() -> None:
    """Run vae-export."""
    _run("vae-export", "export")


def report() -> None:
    """Run vae-report."""
    _run("vae-report", "report")


@contextmanager
def started(script: str) -> Iterator[None]:
    """Run a command inside the block: announced on terminals, ended by signals in one line, and for any terminal."""
    with interruptible():
        prepare_streams()
        announce(script, sys.argv[1:])
        defer_imports()
        yield


def _run(script: str, module: str) -> None:
    atexit.register(_collect_once)  # before any other handler, and so the last to run
    with started(script):
        import_module(f"vae_lightning.commands.{module}").main()


def _collect_once() -> None:
    """Collect garbage and flush files; then spare the process the collections that Python does while it ends.

    Python would do several more, each over all that torch and Lightning have created, which takes half a second. What
    is still in use now is freed without them, except for reference cycles, and those no longer hold any output back.
    Libraries bound with nanobind, such as triton, report at the end whatever they still have: they get the collections.
    """
    gc.collect()
    # By type, because some objects would import their class to say what it is.
    for each in gc.get_objects():
        if type(each).__module__ == "nanobind":
            return
        if issubclass(type(each), io.TextIOWrapper | io.BufferedWriter | io.BufferedRandom):
            with suppress(OSError, ValueError):  # it is closed, or nobody reads it
                each.flush()
    gc.freeze()
