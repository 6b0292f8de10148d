"""Lines that fit the terminal: they break between words. Paths and other words stay whole."""

import logging
import re
import shutil
import sys
import textwrap
from typing import TextIO

__all__ = ["TerminalFormatter", "fitted", "in_width"]

# The lines below the source lines of a traceback, which mark a part of them.
_MARKERS = re.compile(r"^ *[~^]+\n", re.MULTILINE)


def fitted(text: str, stream: TextIO, indent: int = 4) -> str:
    """Return text whose lines fit the stream's terminal; the text itself if the stream is no terminal.

    Arguments:
        text: one or more lines.
        stream: where it is going to be written.
        indent: spaces before what continues a line, beyond the line's own.
    """
    # One column less, because some terminals also break a line that fills them.
    return in_width(text, shutil.get_terminal_size().columns - 1, indent) if stream.isatty() else text


def in_width(text: str, width: int, indent: int = 4) -> str:
    """Return text whose lines are at most ``width`` characters long, except for longer words."""
    return "\n".join(_in_width(line, width, indent) if len(line) > width else line for line in text.split("\n"))


def _in_width(line: str, width: int, indent: int) -> str:
    own = len(line) - len(line.lstrip())
    return textwrap.fill(
        line.strip(),
        width,
        initial_indent=line[:own],
        subsequent_indent=" " * (own + indent),
        break_long_words=False,
        break_on_hyphens=False,
    )


class TerminalFormatter(logging.Formatter):
    """Formats log records as :class:`logging.Formatter` does, in lines that fit the terminal of the standard output.

    Tracebacks lose the lines that mark a part of the line above them.
    """

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return fitted(_MARKERS.sub("", text), sys.stdout) if sys.stdout.isatty() else text
