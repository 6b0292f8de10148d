"""Rules for arguments: the allowed values in words, as a predicate and as a JSON Schema."""

import difflib
import math
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from vae_lightning.config.errors import InputError

__all__ = [
    "Rule",
    "anything",
    "boolean",
    "check",
    "check_choice",
    "check_digits",
    "choice",
    "choices",
    "either",
    "integer",
    "mapping",
    "name",
    "number",
    "one_of",
    "optional",
    "seed",
    "several",
    "target",
    "text",
]

LONGEST_NAME = 255  # bytes that file systems allow


@dataclass(frozen=True)
class Rule:
    """The allowed values of one argument.

    Attributes:
        allowed: description that completes "must be".
        accepts: predicate for the allowed values.
        schema: the same as a JSON Schema, as far as a schema can express it.
        group: the group of ``conf`` whose files a configuration may name instead of a value; empty if there is none.
    """

    allowed: str
    accepts: Callable[[Any], bool]
    schema: Mapping[str, Any] = field(default_factory=dict)
    group: str = ""


def integer(at_least: int, at_most: int | None = None) -> Rule:
    """Allow a whole number; ``True`` is not one."""
    return Rule(
        f"a whole number of at least {at_least}" if at_most is None else f"a whole number from {at_least} to {at_most}",
        lambda value: (
            isinstance(value, int)
            and not isinstance(value, bool)
            and value >= at_least
            and (at_most is None or value <= at_most)
        ),
        {"type": "integer", "minimum": at_least, **({} if at_most is None else {"maximum": at_most})},
    )


def number(above: float | None = None, at_least: float | None = None, below: float | None = None) -> Rule:
    """Allow a finite number within bounds."""
    bounds = {
        ("above", "exclusiveMinimum"): above,
        ("at least", "minimum"): at_least,
        ("below", "exclusiveMaximum"): below,
    }
    given = {names: bound for names, bound in bounds.items() if bound is not None}
    return Rule(
        f"a finite number {' and '.join(f'{word} {bound:g}' for (word, _), bound in given.items())}".strip(),
        lambda value: (
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and math.isfinite(value)
            and (above is None or value > above)
            and (at_least is None or value >= at_least)
            and (below is None or value < below)
        ),
        {"type": "number", **{keyword: bound for (_, keyword), bound in given.items()}},
    )


def one_of(*choices: object) -> Rule:
    """Allow the given values, with the same type (``1`` is not ``True``)."""
    return Rule(
        f"one of {', '.join(map(str, choices))}",
        lambda value: any(type(value) is type(choice) and value == choice for choice in choices),
        {"enum": [*choices]},
    )


def optional(rule: Rule) -> Rule:
    """Allow the values of another rule, or None."""
    return Rule(
        f"{rule.allowed}, or null",
        lambda value: value is None or rule.accepts(value),
        {"anyOf": [rule.schema, {"type": "null"}]},
        rule.group,
    )


def either(first: Rule, second: Rule) -> Rule:
    """Allow the values of two rules."""
    return Rule(
        f"{first.allowed} or {second.allowed}".removeprefix("one of "),
        lambda value: first.accepts(value) or second.accepts(value),
        {"anyOf": [first.schema, second.schema]},
    )


def several(rule: Rule, count: int | None = None, at_least: int = 1) -> Rule:
    """Allow a list or tuple of ``at_least`` (or exactly ``count``) values that each follow another rule."""
    length = {"minItems": at_least} if count is None else {"minItems": count, "maxItems": count}
    return Rule(
        f"a list of {count or ('one or more' if at_least else 'any number of')} values, each {rule.allowed}",
        lambda value: (
            isinstance(value, list | tuple)
            and (len(value) >= at_least if count is None else len(value) == count)
            and all(map(rule.accepts, value))
        ),
        {"type": "array", "items": rule.schema, **length},
    )


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    if type(value) is dict:
        return all(isinstance(key, str) and _is_plain(content) for key, content in value.items())
    return value is None or type(value) in (bool, int, float, str)


anything = Rule("anything", lambda value: True)
text = Rule(
    "a non-empty string", lambda value: isinstance(value, str) and value != "", {"type": "string", "minLength": 1}
)
boolean = replace(one_of(True, False), schema={"type": "boolean"})
seed = integer(at_least=0, at_most=2**32 - 1)
name = Rule(
    "a name for a folder or file, without /",
    lambda value: (
        type(value) in (str, int, float)
        and str(value).strip(". ") != ""
        and "/" not in str(value)
        and str(value).isprintable()
        and len(os.fsencode(str(value))) <= LONGEST_NAME
    ),
    {"type": ["string", "number"]},
)
mapping = Rule(
    "a mapping with _target_ (the class) and its arguments",
    lambda value: isinstance(value, Mapping),
    {"type": "object"},
)
target = Rule(
    "a mapping with _target_ (the class) and its arguments (plain values)",
    lambda value: isinstance(value, Mapping) and text.accepts(value.get("_target_")) and _is_plain({**value}),
    {"type": "object", "required": ["_target_"]},
)


def choice(group: str) -> Rule:
    """Allow the name of a file of a group, or a mapping with ``_target_``."""
    return replace(
        either(text, target), allowed=f"the name of a file of conf/{group}, or {target.allowed}", group=group
    )


def choices(group: str) -> Rule:
    """Allow a list of names of files of a group, or a mapping of names to mappings with ``_target_``."""
    return Rule(
        f"a list of names of files of conf/{group}, or a mapping of names without / to mappings with _target_",
        lambda value: (
            several(text).accepts(value)
            or (
                isinstance(value, Mapping)
                and len(value) > 0
                and all(text.accepts(key) and "/" not in key and target.accepts(node) for key, node in value.items())
            )
        ),
        {
            "anyOf": [
                several(text).schema,
                {
                    "type": "object",
                    "propertyNames": {"pattern": "^[^/]+$"},
                    "additionalProperties": target.schema,
                    "minProperties": 1,
                },
            ]
        },
        group,
    )


def check_digits(node: Any, key: str = "") -> None:
    """Refuse whole numbers that do not fit in 64 bits, because no library takes them.

    Arguments:
        node: a configuration, or a part of it.
        key: the part's key, for errors.

    Raises:
        InputError: for the first of them.
    """
    if isinstance(node, Mapping):
        for name, child in node.items():
            check_digits(child, f"{key}.{name}".lstrip("."))
    elif isinstance(node, list | tuple):
        for child in node:
            check_digits(child, key)
    elif isinstance(node, int) and not -(2**63) <= node < 2**63:
        digits = str(node)
        raise InputError(f"{key}={digits[:20]}... ({len(digits)} digits): must be a number that fits in 64 bits")


def check(values: Mapping[str, Any], rules: Mapping[str, Rule], prefix: str = "") -> None:
    """Refuse the first value that breaks its rule; keys without a rule pass.

    Raises:
        InputError: in one line, with the prefixed key, the value and the allowed values.
    """
    for key, value in values.items():
        if key in rules and not rules[key].accepts(value):
            shown = value if str(value).isprintable() else repr(value)  # repr escapes line breaks
            raise InputError(f"{prefix}{key}={shown}: must be {rules[key].allowed}")


def check_choice(given: str, name: str, choices: Iterable[str], elsewhere: Iterable[str] = ()) -> None:
    """Refuse a name that is not among the choices, and suggest the right one.

    Arguments:
        given: what was given, for the error.
        name: the name in it.
        choices: the allowed names.
        elsewhere: full keys of a configuration; one that ends in the name is suggested first.

    Raises:
        InputError: in one line, with the given text, the suggestion and all choices.
    """
    choices = sorted(choices)
    if name not in choices:
        same = (key for key in elsewhere if key.rpartition(".")[2] == name)
        near = [*islice(same, 1)] or difflib.get_close_matches(name, choices, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise InputError(f"{given}: there is no such name; {hint}allowed: {', '.join(choices)}")
