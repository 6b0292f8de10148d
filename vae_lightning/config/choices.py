"""Arguments that name files of a group: a configuration in place of each name."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf

from vae_lightning.config.rules import check_choice
from vae_lightning.config.targets import rules_of

__all__ = ["CONF", "read_choice", "with_choices"]

_PACKAGE = Path(__file__).parents[1]
# A wheel holds the configurations inside the package, a source tree beside it.
CONF = _PACKAGE / "conf" if (_PACKAGE / "conf").is_dir() else _PACKAGE.parent / "conf"


def with_choices(node: Any, path: str = "") -> Any:
    """Return a part of a configuration with the content of a file in place of its name.

    This concerns the arguments whose rule has a group: a name becomes the content of that file of the group, and a list
    of names a mapping of them to these contents.

    Arguments:
        node: the part, of plain values.
        path: its key and a dot, for errors.

    Raises:
        InputError: if a group has no file of a name.
    """
    if not isinstance(node, Mapping):
        return node
    rules = rules_of(str(node.get("_target_", ""))) or {}
    found = {}
    for key, child in node.items():
        group = rules[key].group if key in rules else ""
        if group and isinstance(child, str):
            child = read_choice(group, child, f"{path}{key}={child}")
        elif group and isinstance(child, list | tuple) and child and all(isinstance(name, str) for name in child):
            child = {name: read_choice(group, name, f"{path}{key}=[{','.join(child)}]") for name in child}
        found[key] = with_choices(child, f"{path}{key}.")
    return found


def read_choice(group: str, name: str, given: str) -> dict[str, Any]:
    """Return the content of a file of a group, with that of the files on which it is based.

    Arguments:
        group: the group.
        name: the file's name without its ending.
        given: key and value that name it, for errors.

    Raises:
        InputError: if the group has no such file.
    """
    folders = _folders()
    check_choice(given, name, {file.stem for folder in folders for file in (folder / group).glob("*.yaml")})
    file = next(file for folder in folders if (file := folder / group / f"{name}.yaml").is_file())
    content: Any = OmegaConf.to_container(OmegaConf.load(file))
    based: Sequence[str] = [base for base in content.pop("defaults", []) if base != "_self_"]
    whole: dict[str, Any] = {key: value for base in based for key, value in read_choice(group, base, given).items()}
    whole.update(content)
    return whole


def _folders() -> list[Path]:
    """Return the folders in which Hydra looks for configurations, in its order; outside of a command, our own."""
    if not HydraConfig.initialized():
        return [CONF]
    sources = HydraConfig.get().runtime.config_sources
    return [Path(source.path) for source in sources if source.schema == "file"]
