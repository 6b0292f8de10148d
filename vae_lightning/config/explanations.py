"""The explanations in configuration files: the comment above or beside a key."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import yaml

__all__ = ["DITTO", "File", "Key", "explained", "read_file", "without_ditto"]

# Comment of a key that has none itself and directly follows another key.
DITTO = "〃"

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the former, where there is one, is faster by far


class Key(NamedTuple):
    """A key: its full name, its default as written (None if it contains keys itself), and its explanation."""

    name: str
    default: str | None
    comment: str


class File(NamedTuple):
    """A file: its explanation, the files that it builds on or selects, and its keys."""

    path: Path
    comment: str
    defaults: list[str]
    keys: list[Key]


def read_file(path: Path, conf: Path) -> File:
    """Read a configuration file with its comments.

    Arguments:
        path: the file.
        conf: the folder whose subfolders are the groups.
    """
    text = path.read_text(encoding="utf-8")
    lines, content = text.splitlines(), yaml.load(text, _LOADER) or {}  # safe
    header = next((line for line, said in enumerate(lines) if not said.startswith("#")), len(lines))
    choices = [choice if isinstance(choice, dict) else {choice: ...} for choice in content.get("defaults", [])]
    defaults = [
        group if name is ... else f"{group}: {name or 'null'}" for choice in choices for group, name in choice.items()
    ]
    within = "" if "# @package _global_" in text else ".".join(path.relative_to(conf).parent.parts)
    root = yaml.compose(text, _LOADER)
    keys = _keys(root, lines, within) if isinstance(root, yaml.MappingNode) else ()
    return File(path, _comment_above(lines, header), defaults, [*keys])


def explained(found: Mapping[str, list[File]]) -> dict[str, list[File]]:
    """Return the files with each missing or "As in ..." comment replaced by that of the file whose key it overrides.

    Arguments:
        found: the files of each group.
    """
    known: dict[str, str] = {}
    for group, members in found.items():
        for file in members:
            own = [key for key in file.keys if key.name.startswith(f"{group.replace('/', '.')}.")]
            for key, said in zip(own, without_ditto(own), strict=True):
                if said and not said.startswith("As in "):
                    known.setdefault(key.name, said)

    def explain(key: Key, said: str) -> Key:
        if key.name.endswith("_target_"):
            return key._replace(comment="The class.")
        if said and not said.startswith("As in "):
            return key
        return key._replace(comment=known.get(key.name, key.comment))

    return {
        group: [file._replace(keys=[*map(explain, file.keys, without_ditto(file.keys))]) for file in members]
        for group, members in found.items()
    }


def without_ditto(keys: list[Key]) -> list[str]:
    """Return the comments of the keys; a key marked as a ditto has the comment of the key before it."""
    comments: list[str] = []
    for key in keys:
        comments.append(comments[-1] if key.comment == DITTO else key.comment)
    return comments


def _keys(mapping: yaml.MappingNode, lines: list[str], within: str, around: str = "") -> Iterator[Key]:
    """Yield the keys of a mapping; its own comment (``around``) also covers its first keys without a comment."""
    above = around
    for key, node in mapping.value:
        line, name = key.start_mark.line, f"{within}.{key.value}".lstrip(".")
        if key.value == "defaults":
            continue
        of_the_file = all(said.startswith("#") for said in lines[:line])
        comment = "" if of_the_file else _comment_above(lines, line)
        if isinstance(node, yaml.MappingNode) and node.value:
            if comment:
                yield Key(name, None, comment)
            yield from _keys(node, lines, name, comment or around)
            above = around
            continue
        # A scalar, or a list or an empty mapping on one line.
        one_line = node.end_mark.line == line
        beside = re.search(r"\s# (.*)$", lines[line][node.end_mark.column :]) if one_line else None
        above = comment or (beside[1] if beside else DITTO if above and lines[line - 1].strip() else "")
        value = lines[line][node.start_mark.column : node.end_mark.column] if one_line else "(several lines)"
        yield Key(name, value, above)


def _comment_above(lines: list[str], line: int) -> str:
    first = line
    while first > 0 and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    said = [text.lstrip().removeprefix("#").removeprefix(" ") for text in lines[first:line]]
    return "\n".join(text for text in said if not text.startswith("@package"))
