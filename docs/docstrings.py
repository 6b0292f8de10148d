"""Docstrings as Markdown that a forge shows, for the pages of families and of estimators."""

import inspect
import re

__all__ = ["markdown"]


def markdown(cls: type) -> str:
    """Return a class's docstring as Markdown."""
    text = inspect.getdoc(cls) or ""
    text = re.sub(r"^\.\. math:: (.+(?:\n +.+)*)", lambda found: f"$$\n{found[1]}\n$$", text, flags=re.M)
    text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text).replace("``", "`")
    text, title, references = text.partition("References:\n")  # where a word before a colon is part of a title
    text = re.sub(r"^    (\w+): ", r"- `\1`: ", text, flags=re.M) + title + references
    text = re.sub(r"^(Arguments|Attributes|Raises|References):\n", r"**\1**\n\n", text, flags=re.M)
    return re.sub(r"^    (?=\S)", "", text, flags=re.M)
