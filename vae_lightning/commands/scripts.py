"""The console scripts: each reacts at once, and imports its command only then."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

from vae_lightning.signals import interruptible
from vae_lightning.terminal import announce, prepare_streams

__all__ = ["evaluate", "export", "report", "started", "train"]


def train() -> None:
    """Run vae-train."""
    _run("vae-train", "train")


def evaluate() -> None:
    """Run vae-eval."""
    _run("vae-eval", "evaluate")


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
        yield


def _run(script: str, module: str) -> None:
    with started(script):
        import_module(f"vae_lightning.commands.{module}").main()
