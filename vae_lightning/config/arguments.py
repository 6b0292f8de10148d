"""Argument checks of constructors and functions, against the rules in their folder."""

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from vae_lightning.config.rules import check
from vae_lightning.config.targets import rules_of

__all__ = ["checked"]

P = ParamSpec("P")
T = TypeVar("T")


def checked(function: Callable[P, T]) -> Callable[P, T]:
    """Check the arguments of each call, defaults included, against the rules of the function or its class.

    A constructor's arguments are stored by name in ``self.arguments``, with lists and dicts in place of other sequences
    and mappings, so that a checkpoint that holds them loads with ``weights_only=True``.

    Arguments:
        function: an ``__init__`` or a function, with an entry in the ``RULES`` of its folder (see
            :func:`vae_lightning.config.targets.rules_of`).

    Raises:
        InputError: on a call, if an argument breaks its rule.

    Example:
        >>> from vae_lightning.schedules import WarmUp
        >>> WarmUp(steps=0)
        Traceback (most recent call last):
        vae_lightning.config.errors.InputError: steps=0: must be a whole number of at least 1
    """
    signature = inspect.signature(function)
    name, _, method = function.__qualname__.partition(".")

    @wraps(function)
    def checking(*args: P.args, **kwargs: P.kwargs) -> T:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        arguments = dict(bound.arguments)
        if method:
            owner = arguments.pop(next(iter(signature.parameters)))
            owner.arguments = {key: _plain(value) for key, value in arguments.items()}
        check(arguments, rules_of(f"{function.__module__}.{name}") or {})
        return function(*args, **kwargs)

    return checking


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {**value}
    return [*value] if isinstance(value, list | tuple) else value
