"""A folder to publish: the model of a run as safetensors and YAML, without anything of the machine that trained it."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from vae_lightning.config.errors import InputError
from vae_lightning.config.extras import check_installed
from vae_lightning.config.moved_names import current_name
from vae_lightning.config.targets import build, find_class
from vae_lightning.models.vae import VAE
from vae_lightning.runs.checkpoints import fitting_checkpoint
from vae_lightning.runs.directory import METRICS
from vae_lightning.runs.stored_config import read_config, relocated
from vae_lightning.whole_files import write_file

__all__ = ["PUBLISHED", "WEIGHTS", "check_own", "download", "is_published", "load_published", "write_published"]

PUBLISHED = Path("config.yaml")  # what was trained, on what and how; its model is what the weights fit
WEIGHTS = Path("model.safetensors")

# What is published of a configuration. The other keys name folders and trackers.
_KEYS = ("seed", "data", "model", "trainer", "callbacks")
# Where the data are and are kept: the business of whoever loads the model.
_LOCATIONS = ("root", "path", "mirror", "device")

# A published configuration may come from someone else, so it may only name classes from here.
_OWN = ("vae_lightning.", "torch.optim.")


def write_published(folder: Path, vae: VAE, config: Mapping[str, Any], weights: Mapping[str, Any]) -> None:
    """Write the weights and the configuration.

    Arguments:
        folder: where the files go.
        vae: the model, with plain values as its hyperparameters.
        config: the run's configuration.
        weights: which weights these are, as plain values.

    Raises:
        InputError: if the model needs a path of this machine, or the extra ``hub`` is not installed.
    """
    check_installed("safetensors", "hub", "safetensors")
    from safetensors.torch import save

    model = {"_target_": config["model"]["_target_"], **vae.hparams}
    for key, value in _paths(model, "model"):
        raise InputError(f"{key}={value}: must not be a path, because others do not have it; the model needs it")
    data = {key: value for key, value in config["data"].items() if key not in _LOCATIONS}
    published = {key: config[key] for key in _KEYS if key in config} | {"data": data, "model": model}
    content = {"weights": dict(weights), **_without_paths(relocated(published | {"run_dir": config["run_dir"]}, "."))}
    del content["run_dir"]
    # Copies, because weights that share memory cannot be stored; each of them is stored under its own name.
    tensors = {name: weight.detach().cpu().clone().contiguous() for name, weight in vae.state_dict().items()}
    write_file(folder / WEIGHTS, save(tensors, metadata={"format": "pt"}))
    write_file(folder / PUBLISHED, OmegaConf.to_yaml(content))


def is_published(folder: Path) -> bool:
    """Return whether a folder holds a published model."""
    return all((folder / file).is_file() for file in (PUBLISHED, WEIGHTS))


def load_published(folder: Path, trusted: bool) -> tuple[VAE, dict[str, Any]]:
    """Return the model of a published folder, on the CPU and in training mode, and its configuration.

    Nothing is unpickled, and no interpolation in the configuration is resolved.

    Arguments:
        folder: the folder.
        trusted: allow classes from anywhere. Their modules are imported, and so can run any code.

    Raises:
        InputError: if a file cannot be read, the weights do not fit, or a class of the model is from elsewhere.
    """
    check_installed(str(folder), "hub", "safetensors")
    from safetensors.torch import load_file

    config = read_config(folder, PUBLISHED)
    config["data"] = {key: value for key, value in config["data"].items() if key not in _LOCATIONS}
    if not trusted:
        check_own(config["model"], f"{folder / PUBLISHED}: model")
    vae = build("model", config["model"], VAE)
    with fitting_checkpoint(folder / WEIGHTS):
        vae.load_state_dict(load_file(folder / WEIGHTS))
    return vae, config


def check_own(node: Any, key: str) -> None:
    """Refuse classes that are neither of this package nor optimisers of torch, before their modules are imported.

    Raises:
        InputError: for the first of them.
    """
    if isinstance(node, Mapping):
        target = node.get("_target_")
        name = current_name(str(target))
        # The second test is for names that a module of ours has imported from elsewhere.
        if target is not None and not (
            name.startswith(_OWN) and find_class(f"{key}._target_", name, object).__module__.startswith(_OWN)
        ):
            raise InputError(
                f"{key}._target_={target}: must be a class of vae_lightning or torch.optim, because importing others "
                "can run any code; load_run(..., trusted=True) allows them"
            )
    for name, child in _children(node):
        check_own(child, f"{key}.{name}")


def download(name: str) -> Path:
    """Return the local copy of a published model on Hugging Face, with its weights, configuration and metrics.

    Arguments:
        name: ``hf://USER/NAME``, or ``hf://USER/NAME@REVISION`` for a branch, tag or commit.

    Raises:
        InputError: if the extra ``hub`` is not installed, or the repository cannot be downloaded.
    """
    check_installed(name, "hub", "huggingface_hub")
    from huggingface_hub import snapshot_download

    repository, _, revision = name.removeprefix("hf://").partition("@")
    try:
        found = snapshot_download(
            repository, revision=revision or None, allow_patterns=[str(file) for file in (PUBLISHED, WEIGHTS, METRICS)]
        )
    except Exception as error:  # of many types: no such name, no network, no access
        reason = next(filter(None, str(error).splitlines()), type(error).__name__)
        raise InputError(f"{name}: cannot be downloaded: {reason}") from error
    return Path(found)


def _children(node: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(node, Mapping):
        yield from node.items()
    elif isinstance(node, list | tuple):
        yield from enumerate(node)


def _paths(node: Any, key: str) -> Iterator[tuple[str, str]]:
    """Yield the keys and values of all texts that are a path or URL."""
    if isinstance(node, str) and _is_path(node):
        yield key, node
    for name, child in _children(node):
        yield from _paths(child, f"{key}.{name}")


def _without_paths(node: Any) -> Any:
    """Return a configuration without the keys whose value is a path or URL."""
    if isinstance(node, Mapping):
        return {
            key: _without_paths(child)
            for key, child in node.items()
            if not (isinstance(child, str) and _is_path(child))
        }
    return [_without_paths(child) for child in node] if isinstance(node, list | tuple) else node


def _is_path(text: str) -> bool:
    return text.startswith(("/", "~", "./", "../")) or "://" in text or "\\" in text
