"""Classes named in configurations and checkpoints: looked up, checked for what they are, and only then called."""

import pkgutil
from collections.abc import Mapping
from typing import Any, TypeVar

from vae_lightning.checks import InputError

__all__ = ["build", "find_class"]

T = TypeVar("T")


def find_class(key: str, target: object, base: type[T]) -> type[T]:
    """The class of that full name, if it is a subclass of ``base``. Its module is imported, nothing of it is called.

    Raises:
        InputError: naming the key, if there is none.
    """
    try:
        found = pkgutil.resolve_name(str(target))
    except (AttributeError, ImportError, ValueError) as error:
        raise InputError(f"{key}={target}: must be the full name of a {base.__name__} class ({error})") from error
    if not (isinstance(found, type) and issubclass(found, base)):
        raise InputError(f"{key}={target}: must be the full name of a {base.__name__} class")
    return found


def build(key: str, node: Mapping[str, Any], base: type[T], *positional: Any, **more: Any) -> T:
    """An object of the class that ``node`` names in ``_target_``, with the rest of the node as its arguments.

    Arguments:
        key: where the node stands, for errors.
        node: ``_target_`` and arguments, plain values.
        base: what the class must be.
        positional: arguments that no configuration can hold.
        more: likewise, by name.

    Raises:
        InputError: if there is no such class, or it refuses the arguments.
    """
    arguments = dict(node)
    cls = find_class(f"{key}._target_", arguments.pop("_target_", None), base)
    try:
        return cls(*positional, **arguments, **more)
    except InputError as error:
        raise InputError(f"{key}: {error}") from error
    except (TypeError, ValueError) as error:  # Lightning's MisconfigurationException is neither
        raise InputError(f"{key}: {cls.__name__} refuses its arguments: {' '.join(str(error).split())}") from error
