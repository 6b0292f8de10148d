"""The error for bad input."""

__all__ = ["InputError"]


class InputError(ValueError):
    """Bad input, described in one line: the key, the value and the allowed values. The commands print no traceback."""
