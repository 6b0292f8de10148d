"""Load the model and the data of a run."""

from pathlib import Path
from typing import NamedTuple

from lightning.pytorch import LightningDataModule

from vae_lightning.config.targets import build
from vae_lightning.models.vae import VAE
from vae_lightning.runs.checkpoints import load_vae
from vae_lightning.runs.directory import find_checkpoint
from vae_lightning.runs.stored_config import read_config

__all__ = ["LoadedRun", "load_run"]


class LoadedRun(NamedTuple):
    """A run's model and data.

    Attributes:
        vae: the model, on the CPU and in eval mode.
        data: the datamodule, before its ``prepare_data`` and ``setup``.
    """

    vae: VAE
    data: LightningDataModule


def load_run(run: str | Path, checkpoint: str = "last") -> LoadedRun:
    """Return the model and the data of a run.

    Arguments:
        run: the run directory.
        checkpoint: ``last``, or ``best`` by validation.

    Raises:
        InputError: if there is no such run or checkpoint, or one of its files is damaged or was not written by a run.
    """
    path = find_checkpoint(Path(run), checkpoint)
    config = read_config(Path(run))
    vae = load_vae(path, config["model"].get("_target_"))
    vae.eval()
    return LoadedRun(vae, build("data", config["data"], LightningDataModule))
