"""Outputs of a run: one that comes from someone else may write only to its own directory."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vae_lightning.config.errors import InputError
from vae_lightning.trackers.rules import SHARED

__all__ = ["check_outputs"]

# Arguments that name the folder of a class's other files, and words in the names of arguments that are paths.
_FOLDERS = ("dirpath", "save_dir", "dir", "directory", "folder")
_WORDS = {*_FOLDERS, "file", "filename", "filepath", "location", "out", "output", "path", "picture", "root", "table"}
_WORDS |= {"uri"}


def check_outputs(config: Mapping[str, Any], run: Path) -> None:
    """Refuse a stored configuration with which a callback or logger could write outside the run directory.

    Classes do not declare which of their arguments are outputs, so a text counts as one if it is an absolute path or
    contains ``..``, if the class has an argument for the folder of its files, or if the argument's name has a word such
    as ``file``. MLflow's default stores are allowed, because runs only add records to them.

    Arguments:
        config: the configuration, relocated to the run directory.
        run: the run directory, resolved.

    Raises:
        InputError: naming the key, if an output is outside or a value is not resolved; naming the link, if the run
            directory contains one that leads outside.
    """
    for key, value in _texts(config):
        if "${" in value:  # it might become another path after this check
            raise InputError(f"{key}={value}: must be a resolved value, as vae-train stores it")
    for path in sorted(run.rglob("*")):
        if path.is_symlink() and not _is_within(run, path):
            raise InputError(f"{path}: must not be a link that leads out of the run directory, for resume=")
    for group in ("callbacks", "logger"):
        for key, value, path in _outputs(config[group], group, run, None):
            if value not in SHARED and not _is_within(run, path):
                raise InputError(
                    f"{key}={value}: must be inside the run directory, {run}, for resume=; if the run is your own, "
                    f"repeat its command with hydra.run.dir={run}"
                )


def _texts(node: Any, key: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(node, str):
        yield key, node
    children = node.items() if isinstance(node, Mapping) else enumerate(node) if isinstance(node, list) else ()
    for name, child in children:
        yield from _texts(child, f"{key}.{name}".lstrip("."))


def _outputs(node: Any, key: str, run: Path, folder: Path | None) -> Iterator[tuple[str, str, Path]]:
    """Yield the keys, values and paths of the outputs in a part of the configuration.

    Arguments:
        node: the part.
        key: its place in the configuration.
        run: the run directory.
        folder: the folder in which its class writes its files, if known.
    """
    if isinstance(node, Mapping):
        named = next((node[name] for name in _FOLDERS if isinstance(node.get(name), str)), None)
        if named is not None:
            folder = _path(named)
        elif str(node.get("_target_")).startswith("lightning.pytorch.callbacks."):
            folder = run  # the Trainer's default_root_dir
        for name, child in sorted(node.items(), key=lambda item: item[0] not in _FOLDERS):  # errors name the folder
            if name != "_target_":
                yield from _outputs(child, f"{key}.{name}", run, folder)
    elif isinstance(node, list):
        for child in node:
            yield from _outputs(child, key, run, folder)
    elif isinstance(node, str) and not node.startswith(("http://", "https://")):
        path, words = _path(node), [word.removesuffix("s") for word in key.rpartition(".")[2].split("_")]
        if folder is not None or path.is_absolute() or ".." in path.parts or not _WORDS.isdisjoint(words):
            yield key, node, (folder or Path()) / path


def _path(text: str) -> Path:
    """Return the path in a text, which may be the URI of a local file or database."""
    for scheme in ("sqlite:///", "file://"):
        text = text.removeprefix(scheme)
    return Path(os.path.expandvars(os.path.expanduser(text)))


def _is_within(run: Path, path: Path) -> bool:
    try:
        return Path(os.path.realpath(path)).is_relative_to(run)
    except ValueError:  # a null byte
        return False
