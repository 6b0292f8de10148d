import io
import logging
import re
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vae_lightning.wrapping import TerminalFormatter, fitted, in_width


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


WORDS = st.lists(st.text("ab=/-.,", min_size=1, max_size=30), min_size=1)


@example(["latent_dim=20/first-run"] * 5, 30, 0, 4)
@given(WORDS, st.integers(20, 100), st.integers(0, 8), st.integers(0, 12))
def test_a_line_breaks_between_words_alone_and_none_is_lost(words: list[str], width: int, own: int, more: int) -> None:
    text = " " * own + " ".join(words)
    first, *others = in_width(text, width, more).split("\n")
    assert " ".join([first, *others]).split() == words
    assert first.startswith(" " * own)
    assert all(line.startswith(" " * (own + more)) for line in others)
    for line in (first, *others):
        assert len(line) <= width or len(line.split()) == 1


def test_lines_that_fit_stay_as_they_are() -> None:
    table = "name        1\n\nother       2\n"
    assert in_width(table, 13) == table


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()])
def test_only_a_terminal_breaks_lines(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    text = "one two three four five"
    assert fitted(text, stream) == ("one two three four\n    five" if stream.isatty() else text)


def test_a_log_line_is_whole_in_a_file_and_fits_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    try:
        raise ValueError("a reason that takes more than forty columns, and then some")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "f", 1, "the job failed: %s", ("why " * 20,), sys.exc_info())
    layout = "[HYDRA] %(message)s"
    shown, formatters = {}, {"terminal": TerminalFormatter(layout), "file": logging.Formatter(layout)}
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", Terminal())
        for name, formatter in formatters.items():
            shown[name] = formatter.format(record)
    marks = re.compile(r"^ *[~^]+$", re.MULTILINE)  # newer versions of Python mark a part of a source line
    assert shown["terminal"].split() == marks.sub("", shown["file"]).split()
    assert all(len(line) < 40 or len(line.split()) == 1 for line in shown["terminal"].splitlines())
    assert "\n" not in shown["file"].partition("Traceback")[0].strip()
    assert TerminalFormatter(layout).format(record) == shown["file"]  # in a pipe
