"""More epochs for a run that exists."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from vae_lightning.config.errors import InputError
from vae_lightning.config.rules import check
from vae_lightning.runs.directory import CONFIG, EVALUATION, FIT, METRICS, locked
from vae_lightning.runs.rules import TRAINER
from vae_lightning.whole_files import write_file

__all__ = ["extend"]


def extend(run: Path, config: Mapping[str, Any], max_epochs: Any) -> dict[str, Any]:
    """Give a run more epochs, which it continues from its last checkpoint, whether it is complete or not.

    Arguments:
        run: the run directory.
        config: the configuration to resume it with.
        max_epochs: the new number of epochs in total.

    Returns:
        The configuration with that number; it is stored, and the run is no longer complete.

    Raises:
        InputError: if the run has more epochs, or another process uses it.
    """
    check({"max_epochs": max_epochs}, TRAINER, "trainer.")
    known = config["trainer"].get("max_epochs")
    if known is not None and max_epochs < known:
        raise InputError(f"trainer.max_epochs={max_epochs}: must be at least {known}, the number of the run's epochs")
    extended = {**config, "trainer": {**config["trainer"], "max_epochs": max_epochs}}
    if max_epochs != known:
        with locked(run):
            for file in (METRICS, EVALUATION, FIT):
                (run / file).unlink(missing_ok=True)
            write_file(run / CONFIG, OmegaConf.to_yaml(extended))
    return extended
