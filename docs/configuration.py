"""Write configuration.md: every group, file and key of conf, with its default and the comment that explains it.

python docs/configuration.py
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import yaml

CONF = Path(__file__).parents[1] / "conf"
PAGE = Path(__file__).with_suffix(".md")
COMMANDS = {"train": "vae-train", "evaluate": "vae-eval", "encode": "vae-encode", "export": "vae-export"}

# Comment of a key that has none itself and directly follows another key.
DITTO = "〃"

HEAD = f"""# Configuration

This page lists every key of every file in [conf](../conf), with its default and the explanation from the file.
`make docs` generates the page from these files.

To select a file of a group, use the group's name (`model=conv`, `hydra/launcher=stacked`). To change a key, use its
full name (`model.latent_dim=10`); to add a key, prefix a plus (`+model.encoder._target_=my_module.Encoder`).
`${{...}}` is the value of another key, `???` marks a required value, and {DITTO} repeats the explanation above.
"""


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


def page() -> str:
    """Return the content of configuration.md."""
    parts = [HEAD]
    for group, members in explained(files()).items():
        if group:
            links = (f"[{file.path.stem}](#{_anchor(_title(group, file))})" for file in members)
            parts.append(f"## {group}\n\n{', '.join(links)}\n")
        parts += [_section(group, file) for file in members]
    return "\n".join(parts)


def files() -> dict[str, list[File]]:
    """Return all files of conf by group; the commands' own files come first, in group ``""``."""
    paths = [CONF / f"{name}.yaml" for name in COMMANDS]
    paths += sorted(path for path in CONF.rglob("*.yaml") if path not in paths)
    found: dict[str, list[File]] = {}
    for path in paths:
        found.setdefault(str(path.relative_to(CONF).parent).strip("."), []).append(_read(path))
    return found


def explained(found: dict[str, list[File]]) -> dict[str, list[File]]:
    """Return the files with each missing or "As in ..." comment replaced by that of the file whose key it overrides."""
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


def _read(path: Path) -> File:
    text = path.read_text(encoding="utf-8")
    lines, content = text.splitlines(), yaml.safe_load(text) or {}
    header = next(line for line, said in enumerate(lines) if not said.startswith("#"))
    choices = [choice if isinstance(choice, dict) else {choice: ...} for choice in content.get("defaults", [])]
    defaults = [
        group if name is ... else f"{group}: {name or 'null'}" for choice in choices for group, name in choice.items()
    ]
    within = "" if "# @package _global_" in text else ".".join(path.relative_to(CONF).parent.parts)
    root = yaml.compose(text)
    assert isinstance(root, yaml.MappingNode)
    return File(path, _comment_above(lines, header), defaults, [*_keys(root, lines, within)])


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


def _title(group: str, file: File) -> str:
    return f"{group}={file.path.stem}" if group else COMMANDS[file.path.stem]


def _anchor(title: str) -> str:
    """Return the anchor that GitHub generates for a heading."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def _section(group: str, file: File) -> str:
    where = file.path.relative_to(CONF.parent)
    made_of = ", ".join(f"`{choice}`" for choice in file.defaults)
    lines = [
        f"{'###' if group else '##'} {_title(group, file)}",
        "",
        _prose(file.comment, "\n\n"),
        "",
        f"[{where}](../{where})" + (f", made of {made_of}" if made_of else ""),
    ]
    if file.keys:
        lines += ["", "| key | default | |", "| --- | --- | --- |"]
        lines += [f"| `{key.name}` | {_code(key.default or '')} | {_prose(key.comment, '<br>')} |" for key in file.keys]
    return "\n".join(lines) + "\n"


def _code(value: str) -> str:
    return "`" + value.replace("|", "\\|") + "`" if value else ""


def _prose(comment: str, line_break: str) -> str:
    """Return a comment as Markdown; its indented lines (commands and tables) stay separate lines."""
    said = ""
    for line in comment.splitlines():
        if line.startswith("  "):
            said += line_break + _code(line.strip())
        else:
            said += (line_break if said.endswith("`") else " ") + re.sub(r"([_*<|])", r"\\\1", line)
    return said.strip()


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
