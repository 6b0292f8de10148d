"""The extras that trackers need."""

from collections.abc import Mapping
from typing import Any

from vae_lightning.config.extras import check_installed

# The extra that installs each logger's package.
EXTRAS = {"lightning.pytorch.loggers.WandbLogger": "wandb", "lightning.pytorch.loggers.MLFlowLogger": "mlflow"}

# Stores that all runs in a working directory share, from conf/logger/mlflow.yaml. Runs add records to them.
SHARED = ("sqlite:///outputs/mlflow.db", "outputs/mlflow")


def check_trackers(loggers: Mapping[str, Any]) -> None:
    """Refuse loggers whose package is not installed.

    Arguments:
        loggers: the ``logger`` group of a configuration, by name.

    Raises:
        InputError: with the command that installs it.
    """
    for name, node in loggers.items():
        extra = EXTRAS.get((node or {}).get("_target_", ""))
        if extra is not None:
            check_installed(f"logger={name}", extra)
