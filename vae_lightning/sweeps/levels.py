"""The values of an axis as text."""

from collections.abc import Iterable
from typing import Any

__all__ = ["level_text", "ordered_levels", "shown"]


def ordered_levels(values: Iterable[Any]) -> list[str]:
    """Return the distinct values as text, sorted by value if they can be compared, otherwise as text."""
    distinct = {level_text(value): value for value in values}
    try:
        return sorted(distinct, key=distinct.__getitem__)
    except TypeError:  # values of different types
        return sorted(distinct)


def level_text(value: object) -> str:
    """Return a value as a short text."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def shown(text: str) -> str:
    """Return a user's text so that matplotlib shows it as it is: ``$`` would begin mathematics, ``_`` hide a label."""
    plain = text.replace("$", r"\$")
    return f" {plain}" if plain.startswith("_") else plain
