"""The terminal: streams that take any text, and a first line while the rest is still being imported."""

import io
import os
import sys
from collections.abc import Sequence

__all__ = ["announce", "clear", "prepare_streams"]

# Flags of commands that only show something.
_SHOWING = ("-h", "--help", "--hydra-help", "--version", "-c", "--cfg", "-i", "--info", "-sc", "--shell-completion")
_announced = ""


def prepare_streams() -> None:
    """Let the output streams escape characters that the terminal cannot show, and replace closed ones by no output."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by the shell, as in ``vae-train >&-``
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def announce(command: str, arguments: Sequence[str]) -> None:
    """Show that the command starts, on terminals alone and unless it only shows something, until :func:`clear`."""
    global _announced
    if sys.stderr.isatty() and not _announced and not any(argument in _SHOWING for argument in arguments):
        _announced = f"{command}: starting ..."
        print(_announced, end="\r", file=sys.stderr, flush=True)


def clear() -> None:
    """Remove the announcement, so that a line can be written in its place."""
    global _announced
    if _announced:
        print(" " * len(_announced), end="\r", file=sys.stderr, flush=True)
        _announced = ""
