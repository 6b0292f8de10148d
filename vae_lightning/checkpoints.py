"""Checkpoints that a crash cannot harm: each is there whole or not at all, and the last but one is kept."""

import logging
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io import TorchCheckpointIO

from vae_lightning.checks import InputError
from vae_lightning.run_directory import checkpoint_path
from vae_lightning.targets import find_class
from vae_lightning.vae import VAE

__all__ = ["SafeCheckpointIO", "checkpoints", "load_vae", "read_checkpoint"]

log = logging.getLogger(__name__)


class SafeCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint beside the old one and then puts it in its place.

    The old ``last.ckpt`` becomes ``previous.ckpt``: a crash at any moment leaves at least one of the two, and whole.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.part")
        try:
            with part.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
        except Exception as error:
            part.unlink(missing_ok=True)
            # What torch raises when the disk is full is a RuntimeError without a word about it.
            raise OSError(f"{path}: cannot be written ({error}); what was there before is as it was") from error
        if path.name == "last.ckpt" and path.exists():
            os.replace(path, path.with_name("previous.ckpt"))
        os.replace(part, path)


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint's tensors and plain values; no code that it may hold is run.

    Raises:
        InputError: if it is damaged, by as little as a bit, or holds anything else.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # torch itself does not compare the checksums
        if damaged is not None:
            raise ValueError(f"the checksum of {damaged} is wrong")
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # what torch raises on odd bytes is of many kinds
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: cannot be loaded: {reason}") from error
    return content


def load_vae(path: Path, target: object) -> VAE:
    """The model of a checkpoint, on the CPU, in training mode.

    Arguments:
        path: of the checkpoint.
        target: the full name of the model's class, ``model._target_`` of the run's configuration.

    Raises:
        InputError: if there is no such class, or the checkpoint is damaged or of another architecture.
    """
    model_class = find_class("model._target_", target, VAE)
    read_checkpoint(path)  # refused here if damaged
    try:
        return model_class.load_from_checkpoint(path, map_location="cpu", weights_only=True)
    except (RuntimeError, KeyError, TypeError) as error:  # of another architecture
        raise InputError(f"{path}: does not fit the model: {' '.join(str(error).split())}") from error


def checkpoints(run: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The checkpoints from which a run can go on, and their content, the newest first; a damaged one is told of."""
    for which in ("last", "previous"):
        path = checkpoint_path(run, which)
        if path.exists():
            try:
                yield path, read_checkpoint(path)
            except InputError as error:
                log.warning("%s; looking for the one before it", error)
