"""Docstrings for the site: the code's formulas and references are reStructuredText's, its sections Google's."""

import re
from contextlib import suppress
from typing import Any

from griffe import Alias, Extension, Module, NameResolutionError, Object

__all__ = ["Docstrings"]


class Docstrings(Extension):
    """Rewrite the docstrings of a package as Markdown, with links to what they name."""

    def on_package(self, *, pkg: Module, **_: Any) -> None:
        _rewrite(pkg)


def _rewrite(node: Object) -> None:
    if node.docstring:

        def link(found: re.Match[str]) -> str:
            path, shown = found[2], found[2].rpartition(".")[2] if found[1] else found[2]
            with suppress(NameResolutionError):  # of full paths, and of names of other packages
                path = node.resolve(path)
            return f'<autoref identifier="{path}" optional>`{shown}`</autoref>'

        text = re.sub(r":\w+:`(~?)([\w.]+)`", link, node.docstring.value)
        text = re.sub(r"^( *)\.\. math:: (.+(?:\n\1 +.+)*)", r"\1$$\n\1\2\n\1$$", text, flags=re.MULTILINE)
        node.docstring.value = text.replace("``", "`")
    for member in node.members.values():
        if not isinstance(member, Alias):
            _rewrite(member)
