"""The arguments of a command, as Hydra parses them."""

import sys
from collections.abc import Sequence
from typing import NoReturn

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException

from vae_lightning.config.errors import InputError

__all__ = ["hydra_arguments"]

# Keys whose value is a path. A job's folder has "=" and "," in its name, which Hydra only takes in quotes.
PATHS = ("run", "other", "resume", "output", "to", "hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir")


def hydra_arguments(given: Sequence[str], bare: str | None = None) -> list[str]:
    """Return the arguments with flags after the overrides and with paths in quotes where Hydra needs them.

    Arguments:
        given: the arguments as the user gave them, in any order.
        bare: the key of an argument that is a path alone; None if there must be none.

    Raises:
        InputError: if a flag does not exist or lacks its value, or an argument is no text.
    """
    for argument in given:
        if not argument.isprintable() and any("\ud800" <= character <= "\udfff" for character in argument):
            encoding = sys.getfilesystemencoding()
            raise InputError(f"{argument!a}: must be text in the encoding {encoding}; PYTHONUTF8=1 selects UTF-8")
    parser = get_args_parser()
    parser.error = _refuse  # type: ignore[method-assign]  # argparse's own takes several lines
    overrides = parser.parse_intermixed_args(given).overrides
    flags = list(given)
    for override in overrides:
        flags.remove(override)
    return [*(_quoted(_with_key(override, bare)) for override in overrides), *flags]


def _refuse(message: str) -> NoReturn:
    raise InputError(f"{message}; --hydra-help lists all flags")


def _with_key(argument: str, bare: str | None) -> str:
    key, equals, _ = argument.partition("=")
    is_path = not argument.startswith(("~", "+", "hydra/")) and (not equals or "/" in key)
    return f"{bare}={argument}" if bare and is_path else argument


def _quoted(override: str) -> str:
    key, _, value = override.partition("=")
    if key not in PATHS:
        return override
    try:
        (parsed,) = OverridesParser.create().parse_overrides([override])
        if not parsed.is_sweep_override() and isinstance(parsed.value(), str | None):
            return override
    except HydraException:
        pass
    return f"{key}={QuotedString(value, Quote.single).with_quotes()}"
