"""Write configuration.md: every group, file and key of conf, with its default and the comment that explains it.

python docs/configuration.py
"""

import re
from pathlib import Path

from vae_lightning.config.explanations import DITTO, File, explained, read_file

CONF = Path(__file__).parents[1] / "conf"
PAGE = Path(__file__).with_suffix(".md")
COMMANDS = {
    "train": "vae-train",
    "evaluate": "vae-eval",
    "encode": "vae-encode",
    "explore": "vae-explore",
    "export": "vae-export",
}

HEAD = f"""# Configuration

This page lists every key of every file in [conf](../conf/train.yaml), with its default and the explanation from the
file. `make docs` generates the page from these files.

To select a file of a group, use the group's name (`model=conv`, `hydra/launcher=stacked`). To change a key, use its
full name (`model.latent_dim=10`); to add a key, prefix a plus (`+model.encoder._target_=my_module.Encoder`).
`${{...}}` is the value of another key, `???` marks a required value, and {DITTO} repeats the explanation above.
"""


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
        found.setdefault(str(path.relative_to(CONF).parent).strip("."), []).append(read_file(path, CONF))
    return found


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
