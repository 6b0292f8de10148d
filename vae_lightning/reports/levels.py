"""The values of an axis as text."""

import re
from collections.abc import Iterable
from typing import Any

__all__ = ["level_text", "metric_label", "ordered_levels", "shortened", "shown"]


def ordered_levels(values: Iterable[Any]) -> list[str]:
    """Return the distinct values as text, sorted by value if they can be compared, otherwise as text."""
    distinct = {level_text(value): value for value in values}
    try:
        return sorted(distinct, key=distinct.__getitem__)
    except TypeError:  # values of different types
        return sorted(distinct)


def level_text(value: object) -> str:
    """Return a value as a text that distinguishes it from others."""
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def shortened(value: object) -> str:
    """Return a value as text, its decimal fractions with 4 significant digits, also those in a longer text.

    >>> shortened(0.0008897001125587898), shortened("lr=1.5, widths=[8, 0.123456]"), shortened(100000)
    ('0.0008897', 'lr=1.5, widths=[8, 0.1235]', '100000')
    """
    return re.sub(r"(?<![\w.])\d+\.\d+(e[+-]?\d+)?(?![\w.])", lambda number: f"{float(number[0]):.4g}", str(value))


def shown(text: str) -> str:
    """Return a user's text so that matplotlib shows it as it is: ``$`` would begin mathematics, ``_`` hide a label."""
    plain = shortened(text).replace("$", r"\$")
    return f" {plain}" if plain.startswith("_") else plain


def metric_label(metric: str) -> str:
    """Return a metric's name with its unit, for an axis of a picture."""
    units = {"nats per image": ("/loss", "/recon", "/kl"), "share of images": ("_acc",)}
    return shown(metric) + "".join(f", {unit}" for unit, ends in units.items() if metric.endswith(ends))
