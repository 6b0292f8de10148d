"""Environment variables in configurations, ``${oc.env:NAME}``, whose values no error may show: they may be secrets."""

import os
import re
from typing import Any

from omegaconf.resolvers import oc

from vae_lightning.config.hydra_versions import register_resolver

__all__ = ["with_names"]

_resolved: dict[str, str] = {}  # the values of the variables that a configuration refers to, by name

# A shorter value is replaced only where it is the whole value of a key, because it may be part of anything.
SHORTEST = 4


def with_names(message: str) -> str:
    """Return a message with ``${oc.env:NAME}`` in place of the values of the variables that were resolved."""
    for name, value in sorted(_resolved.items(), key=lambda item: -len(item[1])):
        before = r"(?<![\w.-])" if len(value) >= SHORTEST else "(?<==)"
        for shown in {value, repr(value)[1:-1]}:
            message = re.sub(f"{before}{re.escape(shown)}(?![\\w.-])", f"${{oc.env:{name}}}", message)
    return message


def _environment_variable(name: str, *default: Any) -> Any:
    if os.environ.get(name):
        _resolved[name] = os.environ[name]
    return oc.env(name, *default)


register_resolver("oc.env", _environment_variable, replace=True)
