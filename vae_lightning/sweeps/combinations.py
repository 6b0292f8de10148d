"""The combinations of values that a grid runs: products, axes whose values go side by side, several grids in a row."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, product
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override

from vae_lightning.config.errors import InputError
from vae_lightning.config.rules import check_choice

__all__ = ["as_overrides", "axes_of", "combinations"]


def as_overrides(params: Mapping[str, Any] | None) -> list[str]:
    """Return keys and their values, as ``hydra.sweeper.params`` has them, in the form of the command line."""
    return [f"{key}={value}" for key, value in (params or {}).items()]


def axes_of(sweeper: Mapping[str, Any], given: Sequence[str]) -> dict[str, bool]:
    """Return the keys that a sweep overrides, and whether each is an axis.

    An axis has several values, on the command line or in ``params``, or stands in one of the ``grids``, whose other
    entries may have another value or none; a single value on the command line replaces those.

    Arguments:
        sweeper: the sweeper's configuration, with ``params`` and ``grids`` if it has them.
        given: the overrides of the command line.
    """
    found: dict[str, bool] = {}
    parts = [(as_overrides(sweeper.get("params")), False)]
    parts += [(as_overrides(grid), True) for grid in sweeper.get("grids") or []]
    for part, is_axis in (*parts, (given, False)):
        for override in OverridesParser.create().parse_overrides([*part]):
            found[_name(override)] = is_axis or override.is_sweep_override()
    return found


def combinations(grids: Iterable[Sequence[Override]], paired: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return the overrides of each job, in order and each only once.

    Arguments:
        grids: the overrides of each grid; the last one of a key counts.
        paired: lists of axes whose n-th values go together.

    Raises:
        InputError: if a list of ``paired`` names a key that is no axis, or one that it names twice; if the axes of a
            list differ in their number of values; or if an axis is an interval.
    """
    found = [{_name(override): _values(override) for override in overrides} for overrides in grids]
    axes = {key for values in found for key in values if len(values[key]) > 1}
    together = [*chain.from_iterable(paired)]
    for key in together:
        check_choice(f"hydra.sweeper.paired={_shown(paired)}", key, axes)
        if together.count(key) > 1:
            raise InputError(f"hydra.sweeper.paired={_shown(paired)}: must name {key} only once")
    jobs = chain.from_iterable(product(*_dimensions(values, paired)) for values in found)
    return [[*job] for job in dict.fromkeys(tuple(chain.from_iterable(choices)) for choices in jobs)]


def _dimensions(values: Mapping[str, Sequence[str]], paired: Sequence[Sequence[str]]) -> list[list[tuple[str, ...]]]:
    """Return a list for each key, and for each pair of keys: the overrides of its first value, its second and so on."""
    dimensions: dict[str, list[tuple[str, ...]]] = {
        key: [(value,) for value in overrides] for key, overrides in values.items()
    }
    for keys in paired:
        counts = {key: len(values.get(key, ())) for key in keys}
        if len({*counts.values()}) > 1:
            shown = ", ".join(f"{key} has {count}" for key, count in counts.items())
            raise InputError(f"hydra.sweeper.paired={_shown(paired)}: must name axes of the same length, but {shown}")
        if counts[keys[0]]:
            dimensions[keys[0]] = [*zip(*(values[key] for key in keys), strict=True)]
            for key in keys[1:]:
                del dimensions[key]
    return [*dimensions.values()]


def _values(override: Override) -> list[str]:
    """Return an override for each of its values."""
    key = override.get_key_element()
    if not override.is_sweep_override():
        return [f"{key}={override.get_value_element_as_str()}"]
    if not override.is_discrete_sweep():
        raise InputError(f"{override.input_line}: must be a list of values, because a grid runs all of them")
    return [f"{key}={value}" for value in override.sweep_string_iterator()]


def _name(override: Override) -> str:
    return override.get_key_element().lstrip("+")


def _shown(paired: Sequence[Sequence[str]]) -> str:
    return f"[{','.join('[' + ','.join(keys) + ']' for keys in paired)}]"
