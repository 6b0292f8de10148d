"""Resolution of configurations to plain values, and the resolvers that they use."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

__all__ = ["resolved"]

OmegaConf.register_new_resolver("first_of", lambda value, default: default if value is None else value, replace=True)
OmegaConf.register_new_resolver("name_of", lambda path: Path(path).name, replace=True)


def resolved(cfg: DictConfig) -> dict[str, Any]:
    """Return the configuration as plain dicts and lists, with all interpolations resolved."""
    container = OmegaConf.to_container(cfg, resolve=True, throw_on_missing=False)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}
