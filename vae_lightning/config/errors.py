"""The error for bad input, and other errors in one line."""

__all__ = ["IncompatibleError", "InputError", "one_line"]


class InputError(ValueError):
    """Bad input, described in one line: the key, the value and the allowed values. The commands print no traceback."""


class IncompatibleError(InputError):
    """Two choices that are valid, but not together; a grid leaves such a combination out."""


def one_line(error: Exception) -> str:
    """Return the message of an error in one line; the name of its type if it has none."""
    return " ".join(str(error).split()) or type(error).__name__
