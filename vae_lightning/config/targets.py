"""The classes named in configurations: find, check and build them."""

import pkgutil
import sys
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from vae_lightning.config.errors import InputError, one_line
from vae_lightning.config.moved_names import current_name
from vae_lightning.config.rules import Rule, check, check_choice

__all__ = ["build", "check_targets", "find_class", "rules_of"]

T = TypeVar("T")


def find_class(key: str, target: object, base: type[T]) -> type[T]:
    """Return the class with the full name ``target`` if it is a subclass of ``base``; import it, but call nothing.

    Raises:
        InputError: naming the key, if there is no such class.
    """
    try:
        found = pkgutil.resolve_name(current_name(str(target)))
    except (AttributeError, ImportError, ValueError) as error:
        raise InputError(f"{key}={target}: must be the full name of a subclass of {base.__name__} ({error})") from error
    if not (isinstance(found, type) and issubclass(found, base)):
        raise InputError(f"{key}={target}: must be the full name of a subclass of {base.__name__}")
    return found


def build(key: str, node: Mapping[str, Any], base: type[T], *positional: Any, **more: Any) -> T:
    """Build an object of the class that ``node`` names in ``_target_``, with the rest of the node as its arguments.

    Arguments:
        key: the node's place in the configuration, for errors.
        node: ``_target_`` and arguments, plain values.
        base: the required base class.
        positional: positional arguments that no configuration can hold.
        more: keyword arguments that no configuration can hold.

    Raises:
        InputError: if there is no such class, or it refuses the arguments.
    """
    arguments = dict(node)
    cls = find_class(f"{key}._target_", arguments.pop("_target_", None), base)
    try:
        return cls(*positional, **arguments, **more)
    except InputError as error:
        raise InputError(f"{key}: {error}") from error
    except _refusals() as error:
        raise InputError(f"{key}: {cls.__name__} refuses its arguments: {one_line(error)}") from error


def _refusals() -> tuple[type[Exception], ...]:
    """Return the errors with which a class refuses its arguments; Lightning, if it is in use, has its own."""
    lightning: Any = sys.modules.get("lightning.fabric.utilities.exceptions")
    own = () if lightning is None else (lightning.MisconfigurationException, ModuleNotFoundError)
    # RuntimeError is torch's if a size exceeds the memory.
    return (TypeError, ValueError, RuntimeError, MemoryError, OverflowError, *own)


@cache
def rules_of(target: str) -> Mapping[str, Rule] | None:
    """Find the rules of a class or function by naming convention, without importing it.

    The rules of ``package.folder.module.Name``, and of ``package.folder.Name``, are ``RULES["Name"]`` in the module
    ``package.folder.rules``, in any package.

    Returns:
        The rules by argument; None if there are none.
    """
    *path, name = current_name(target).split(".")
    for length in (len(path), len(path) - 1):
        folder = _folder(path[:length])
        if folder is not None and (folder / "rules.py").is_file():
            rules: Mapping[str, Mapping[str, Rule]] = import_module(".".join([*path[:length], "rules"])).RULES
            return rules.get(name)
    return None


def _folder(package: list[str]) -> Path | None:
    """Return the folder of a package; Python looks up only its first name, which imports nothing."""
    try:
        spec = find_spec(package[0]) if package else None
    except ValueError:  # __main__, or no name at all
        return None
    locations = (spec.submodule_search_locations if spec is not None else None) or ()
    return next((Path(location, *package[1:]) for location in locations if Path(location, *package[1:]).is_dir()), None)


def check_targets(node: Any, path: str = "") -> None:
    """Refuse unknown or invalid arguments of every class that a configuration names and that has rules.

    Arguments:
        node: a configuration, or a part of it.
        path: the part's key and a dot, for errors.

    Raises:
        InputError: for the first key or value that is not allowed.
    """
    if not isinstance(node, Mapping):
        return
    rules = rules_of(str(node.get("_target_", "")))
    if rules is not None:
        for key in set(node) - {"_target_"}:
            check_choice(f"{path}{key}={node[key]}", key, rules)
        check(node, rules, path)
    for key, child in node.items():
        check_targets(child, f"{path}{key}.")
