"""Load the model and the data of a run."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningDataModule

from vae_lightning.config.errors import InputError
from vae_lightning.config.targets import build
from vae_lightning.models.vae import VAE
from vae_lightning.runs.checkpoints import load_vae
from vae_lightning.runs.directory import find_checkpoint, stored_metrics
from vae_lightning.runs.published import PUBLISHED, WEIGHTS, check_own, download, is_published, load_published
from vae_lightning.runs.stored_config import read_config, with_data

__all__ = ["LoadedRun", "load_run"]


@dataclass(frozen=True)
class LoadedRun:
    """A run's model and data.

    Attributes:
        vae: the model, on the CPU and in eval mode.
        config: the run's configuration, or what is published of it.
        metrics: the final metrics, those of ``metrics.json``; empty if the run is not complete.
        trusted: whether classes of the data may be from anywhere.
    """

    vae: VAE
    config: Mapping[str, Any]
    metrics: Mapping[str, float]
    trusted: bool = True

    @cached_property
    def data(self) -> LightningDataModule:
        """The datamodule, before its ``prepare_data`` and ``setup``; built when it is first asked for.

        Raises:
            InputError: if the data cannot be built, or their class is from elsewhere and not trusted.
        """
        if not self.trusted:
            check_own(self.config["data"], "data")
        return build("data", self.config["data"], LightningDataModule)


def load_run(
    run: str | Path, checkpoint: str | None = None, *, data: Mapping[str, Any] | None = None, trusted: bool = False
) -> LoadedRun:
    """Return the model and the data of a run.

    Arguments:
        run: the run directory; a folder that ``vae-export to=...`` has written; or such a folder on Hugging Face,
            ``hf://USER/NAME`` or ``hf://USER/NAME@REVISION``, which is downloaded.
        checkpoint: of a run directory, ``last``, or ``best`` by validation; None for ``last``.
        data: replacements for arguments of the data, such as ``{"root": "my_mnist"}``; with ``_target_``, other data.
        trusted: allow a published folder to name classes from anywhere; importing their modules can run any code.

    Raises:
        InputError: if there is no such run, checkpoint or repository, one of its files is damaged or was not written by
            a run, a published folder names classes from elsewhere, or the extra ``hub``, which reads published folders,
            is not installed.
    """
    folder = download(str(run)) if str(run).startswith("hf://") else Path(run).expanduser()
    if folder.is_dir() and is_published(folder):
        if checkpoint is not None:
            raise InputError(
                f"checkpoint={checkpoint}: must be None, because {run} holds the weights of one checkpoint"
            )
        vae, config = load_published(folder, trusted)
    else:
        if not folder.exists() and re.fullmatch(r"[\w.-]+/[\w.-]+", str(run)):
            raise InputError(f"run={run}: there is no such folder; hf://{run} names a repository of Hugging Face")
        if str(run).startswith("hf://"):
            raise InputError(f"{run}: must hold {PUBLISHED} and {WEIGHTS}, as vae-export to=... writes them")
        path = find_checkpoint(folder, checkpoint or "last")
        config, trusted = read_config(folder), True
        vae = load_vae(path, config["model"].get("_target_"))
    vae.eval()
    return LoadedRun(vae, with_data(config, data or {}), stored_metrics(folder) or {}, trusted)
