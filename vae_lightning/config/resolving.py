"""Resolution of configurations to plain values, and the resolvers that they use."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from vae_lightning.config.choices import with_choices
from vae_lightning.config.hydra_versions import register_resolver

__all__ = ["as_written", "key_names", "resolved"]

register_resolver("first_of", lambda value, default: default if value is None else value, replace=True)
register_resolver("name_of", lambda path: Path(path).name, replace=True)


def resolved(cfg: DictConfig) -> dict[str, Any]:
    """Return the configuration as plain dicts and lists, with interpolations resolved and named choices read.

    Raises:
        InputError: if there is no choice of a name (:func:`vae_lightning.config.choices.with_choices`).
    """
    container = with_choices(OmegaConf.to_container(cfg, resolve=True, throw_on_missing=False))
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}


def as_written(node: DictConfig, key: str) -> str:
    """Return a value of a node as text, with its interpolations as they are written."""
    return str(OmegaConf.to_container(node, resolve=False)[key])  # type: ignore[index, call-overload]


def key_names(cfg: DictConfig) -> Iterator[str]:
    """Yield the full names of the configuration's keys, ``data.batch_size``, except for Hydra's."""

    def names(node: Any, within: str) -> Iterator[str]:
        for key, child in node.items() if isinstance(node, dict) else ():
            if within or key != "hydra":
                yield f"{within}{key}"
                yield from names(child, f"{within}{key}.")

    return names(OmegaConf.to_container(cfg), "")
