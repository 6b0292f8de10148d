"""Checkpoints that survive a crash."""

import logging
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io import TorchCheckpointIO
from lightning.pytorch import Trainer
from torch import Tensor

from vae_lightning.config.errors import InputError, one_line
from vae_lightning.config.targets import find_class
from vae_lightning.models.vae import VAE
from vae_lightning.runs.directory import checkpoint_path

__all__ = [
    "SafeCheckpointIO",
    "checkpoints",
    "fitting_checkpoint",
    "load_vae",
    "read_checkpoint",
    "restoring",
    "weights_epoch",
]

log = logging.getLogger(__name__)

# Entries of a checkpoint that a Trainer writes: those of every one, and those without which a run would resume with
# other numbers (ModelCheckpoint's save_weights_only leaves them out).
ENTRIES = {"epoch": int, "global_step": int, "state_dict": dict, "pytorch-lightning_version": str}
STATES = {"loops": dict, "callbacks": dict, "optimizer_states": list}


class SafeCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint to a temporary file, then moves it into place.

    The old ``last.ckpt`` becomes ``previous.ckpt``: a crash at any moment leaves at least one of the two intact.
    """

    def load_checkpoint(self, path: Any, *arguments: Any, **named: Any) -> dict[str, Any]:
        return _moved_to(Path(path).parent, super().load_checkpoint(path, *arguments, **named))

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
            # If the disk is full, torch raises a RuntimeError that does not mention the disk.
            raise OSError(f"{path}: cannot be written ({error}); the earlier checkpoint is unchanged") from error
        if path.name == "last.ckpt" and path.exists():
            os.replace(path, path.with_name("previous.ckpt"))
        os.replace(part, path)

    def remove_checkpoint(self, path: Any) -> None:
        """Remove a checkpoint's file; Lightning's own method removes whole folders.

        ModelCheckpoint reads the paths from the checkpoint that a run resumes, which may come from someone else. A
        path with ``..`` or of another file system passes its test that the file is in its folder.
        """
        path = Path(path)
        if path.suffix == ".ckpt" and ".." not in path.parts and path.is_file():
            path.unlink()


def _moved_to(folder: Path, checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Set the callbacks' folder to the checkpoint's; otherwise, ModelCheckpoint forgets a moved run's best score."""

    def moved(value: Any, old: str) -> Any:
        if isinstance(value, dict):
            return {moved(key, old): moved(child, old) for key, child in value.items()}
        inside = isinstance(value, str) and (value == old or value.startswith(f"{old}/"))
        return f"{folder}{value.removeprefix(old)}" if inside else value

    # A callback that saves to a folder of another name keeps it.
    states = {
        key: moved(state, state["dirpath"])
        if isinstance(state, dict) and Path(state.get("dirpath") or "").name == folder.name
        else state
        for key, state in checkpoint.get("callbacks", {}).items()
    }
    return {**checkpoint, "callbacks": states}


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return a checkpoint's tensors and plain values, without running any code that the file may contain.

    Raises:
        InputError: if the file is damaged, even by a single bit, contains anything else, lacks an entry that a Trainer
            writes, or has a weight that is not a number.
    """
    content: dict[str, Any] = _read(path)
    _check_content(path, content, ENTRIES)
    return _moved_to(path.parent, content)


def _read(path: Path) -> Any:
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # torch itself does not verify the checksums
        if damaged is not None:
            raise ValueError(f"the checksum of {damaged} is wrong")
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises errors of many types on damaged files
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: cannot be loaded: {reason}") from error


def _check_content(path: Path, content: Any, kinds: Mapping[str, type]) -> None:
    entries = content if isinstance(content, dict) else {}
    for name, kind in kinds.items():
        if not isinstance(entries.get(name), kind):
            raise InputError(f"{path}: must be a checkpoint with {', '.join(kinds)}, but {name} is missing or invalid")
    for name, weight in entries["state_dict"].items():
        # Infinite values are left to the loss, because a custom network may store a mask of them.
        if not isinstance(weight, Tensor) or (weight.is_floating_point() and weight.isnan().any()):
            raise InputError(f"{path}: must hold weights that are numbers, but {name} is not")


def load_vae(path: Path, target: object) -> VAE:
    """Return the model of a checkpoint, on the CPU and in training mode.

    Arguments:
        path: the checkpoint's path.
        target: the full name of the model's class, ``model._target_`` in the run's configuration.

    Raises:
        InputError: if there is no such class, or the checkpoint is damaged or has another architecture.
    """
    model_class = find_class("model._target_", target, VAE)
    read_checkpoint(path)  # refuses a damaged checkpoint
    with fitting_checkpoint(path):
        return model_class.load_from_checkpoint(path, map_location="cpu", weights_only=True)


def weights_epoch(path: Path) -> int:
    """Return the epoch, counted from 1, whose weights a checkpoint holds; EarlyStopping may have restored earlier ones.

    Raises:
        InputError: if the checkpoint is damaged.
    """
    content = read_checkpoint(path)
    epoch: int = content["restored"]["epoch"] if "restored" in content else content["epoch"] + 1
    return epoch


def checkpoints(run: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yield the checkpoints from which a run can resume, newest first, with their content; log damaged ones.

    Raises:
        InputError: if a checkpoint is intact, but no run wrote its content.
    """
    for which in ("last", "previous"):
        path = checkpoint_path(run, which)
        if path.exists():
            try:
                content = _read(path)
            except InputError as error:
                log.warning("%s; trying the checkpoint before it", error)
            else:
                _check_content(path, content, ENTRIES | STATES)
                yield path, _moved_to(path.parent, content)


@contextmanager
def fitting_checkpoint(path: Path) -> Iterator[None]:
    """Turn any error inside the ``with`` block, which loads a checkpoint's states, into an InputError.

    Raises:
        InputError: naming the checkpoint.
    """
    try:
        yield
    except Exception as error:  # a state of another architecture can raise errors of many types
        raise InputError(f"{path}: does not fit the model: {one_line(error)}") from error


@contextmanager
def restoring(trainer: Trainer, path: Path | None) -> Iterator[None]:
    """Turn an error of ``trainer.fit`` before its first batch into an InputError, if it resumes from a checkpoint.

    Raises:
        InputError: naming the checkpoint.
    """
    try:
        yield
    except (InputError, OSError):
        raise
    except Exception as error:
        if path is None or trainer.train_dataloader is not None:  # the data come after the checkpoint
            raise
        with fitting_checkpoint(path):
            raise error
