"""The terminal: streams that take any text, and a first line while the rest is still being imported."""

import io
import os
import sys
from collections.abc import Sequence

__all__ = ["announce", "clear", "prepare_streams"]

# Flags of commands that only show something.
_SHOWING = ("-h", "--help", "--hydra-help", "--version", "-c", "--cfg", "-i", "--info", "-sc", "--shell-completion")
_announced = False


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
    terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    if terminal and not _announced and not any(argument in _SHOWING for argument in arguments):
        _announced = True
        print(f"{command}: starting ...\r", end="", file=sys.stderr, flush=True)


def clear() -> None:
    """Remove the announcement, so that a line can be written in its place."""
    global _announced
    if _announced:
        _announced = False
        print("\x1b[K", end="", file=sys.stderr, flush=True)
