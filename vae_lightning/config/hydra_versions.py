"""The calls that Hydra 1.3 and 1.4 spell differently: 1.4 warns of the earlier form, and 1.5 will refuse it."""

from collections.abc import Callable
from typing import Any

import hydra.utils
from omegaconf import OmegaConf

__all__ = ["MAIN", "VERSION_BASE", "register_resolver"]

# What 1.4 has and 1.3 lacks: the value that lets a configuration name any class.
_TRUST = getattr(hydra.utils, "UNSAFE_DISABLE_EXECUTION_CHECKS", None)

# Arguments of hydra.initialize_config_dir. 1.3 needs the version whose behaviour is wanted; 1.4 has one behaviour.
VERSION_BASE: dict[str, Any] = {"version_base": "1.3"} if _TRUST is None else {}

# Arguments of hydra.main. A whitelist cannot name the callbacks, samplers and log handlers of the user's own packages,
# and the models and data modules that the user's files name are built without Hydra, so it would protect nothing.
MAIN: dict[str, Any] = VERSION_BASE if _TRUST is None else {"execution_whitelist": _TRUST}

# Registers a function that an interpolation, ``${name:...}``, calls. OmegaConf 2.3 has another under the later name.
register_resolver: Callable[..., None] = getattr(
    OmegaConf, "register_new_resolver" if _TRUST is None else "register_resolver"
)
