"""The text of --help: a command's groups and keys, their values, and the explanations from the configuration files."""

import json
import re
import shutil
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from vae_lightning.config.explanations import DITTO, File, explained, read_file
from vae_lightning.wrapping import in_width

__all__ = ["help_text"]

# Where explanations begin, how many characters of one are shown unless its first sentence is longer, and how wide the
# text becomes on a wide terminal.
COLUMN, LONG, WIDEST = 32, 220, 120


def help_text(cfg: DictConfig, resolve: bool = False) -> str:
    """Return the text of --help in the width of the terminal, 80 columns in a pipe.

    Arguments:
        cfg: the composed configuration with Hydra's part, in which ``hydra.help`` has a header and a footer.
        resolve: whether to show the values of interpolations.
    """
    width = min(shutil.get_terminal_size().columns, WIDEST)
    folders = [Path(source.path) for source in cfg.hydra.runtime.config_sources if source.schema == "file"]
    # Hydra lists the choices from the last to the first.
    choices = {group: choice for group, choice in [*cfg.hydra.runtime.choices.items()][::-1] if "hydra" not in group}
    keys = [str(key) for key in cfg if key != "hydra"]
    values = OmegaConf.to_container(OmegaConf.masked_copy(cfg, keys), resolve=resolve)
    assert isinstance(values, dict)
    groups = {key: values.pop(key, None) for key in dict.fromkeys([*choices, *keys]) if _names(folders, key)}
    found = {"": [*_files(folders, "", cfg.hydra.job.config_name)]}
    found |= {group: [*_files(folders, group, choices.get(group))] for group in groups}
    meanings = {**_beside_choices(found[""]), **_meanings(found, folders)}

    header, footer = (in_width(str(cfg.hydra.help[part]).strip(), width, indent=0) for part in ("header", "footer"))
    parts = [header, "Keys, their values and their meanings:"]
    parts.append("\n".join(_keys("", values, meanings, width)))
    for group, content in groups.items():
        title, choice = group, ""
        if group in choices:
            title, choice = f"{group}={_text(choices[group])}", f"One of {', '.join(_names(folders, group))}."
        about = next((file.comment for file in found[group]), meanings.get(group, ""))
        lines = [*_row(title, about, width), *_row("", choice, width)]
        lines += _keys(group, content, meanings, width) if content else ()
        parts.append("\n".join(lines))
    return "\n\n".join([*parts, footer])


def _files(folders: Sequence[Path], group: str, choice: object) -> Iterator[File]:
    """Yield the file of a choice, and the files of the same group that it builds on."""
    for folder in folders:
        path = folder / group / f"{choice}.yaml"
        if path.is_file():
            yield (file := read_file(path, folder))
            for name in file.defaults:
                yield from _files(folders, group, name) if name != "_self_" else ()
            return


def _meanings(found: Mapping[str, list[File]], folders: Sequence[Path]) -> dict[str, str]:
    """Return the explanation of each key: that of the first file in ``found`` that has one."""
    others = {
        group: [read_file(path, folders[0]) for path in sorted((folders[0] / group).glob("*.yaml"))]
        for group in found
        if group
    }
    meanings: dict[str, str] = {}
    for members in explained({group: [*found[group], *others.get(group, [])] for group in found}).values():
        for key in (key for file in members for key in file.keys if key.comment):
            meanings.setdefault(key.name, key.comment)
    return meanings


def _names(folders: Sequence[Path], group: str) -> list[str]:
    """Return the names of a group's files."""
    return sorted({path.stem for folder in folders for path in (folder / group).glob("*.yaml")})


def _beside_choices(files: Iterable[File]) -> dict[str, str]:
    """Return the comment beside each group in the defaults of the files."""
    found = {
        group: comment
        for file in files
        for group, comment in re.findall(r"^ *- (\S+): .*# (.*)$", file.path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    return {group: f"{comment[0].upper()}{comment[1:]}." for group, comment in found.items()}


def _keys(name: str, value: object, meanings: Mapping[str, str], width: int) -> Iterator[str]:
    """Yield the lines of the keys below a name, except for those that name a class."""
    if isinstance(value, dict) and value:
        for key, child in value.items():
            if key != "_target_":
                yield from _keys(f"{name}.{key}".lstrip("."), child, meanings, width)
    else:
        yield from _row(f"  {name}={_text(value)}", meanings.get(name, ""), width)


def _text(value: Any) -> str:
    """Return a value as the command line takes it."""
    if isinstance(value, list):
        return f"[{','.join(map(_text, value))}]"
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return "''" if value == "" else str(value)


def _row(left: str, comment: str, width: int) -> Iterator[str]:
    """Yield the lines of an entry: its explanation beside it, or below it if it is too long."""
    about = textwrap.wrap(_short(comment), width - COLUMN, break_long_words=False, break_on_hyphens=False)
    if left and about and len(left) <= COLUMN - 2:
        yield f"{left:{COLUMN}}{about.pop(0)}"
    elif left:
        yield left
    yield from (" " * COLUMN + line for line in about)


def _short(comment: str) -> str:
    """Return the prose of a comment: its first sentence, and those after it that are not too long."""
    if comment == DITTO:
        return "(as above)"
    prose = " ".join(line.strip() for line in comment.splitlines() if not line.startswith("  "))
    first, *others = re.split(r"(?<=\.) (?=[A-Z]|\w+: )", prose)
    for sentence in others:
        if len(first) + len(sentence) >= LONG:
            break
        first += f" {sentence}"
    return first
