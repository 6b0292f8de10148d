"""Write a folder that is ready to publish."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from vae_lightning.models.onnx import export_onnx
from vae_lightning.models.vae import VAE
from vae_lightning.reports.model_card import Numbers, model_card, same_but_seed
from vae_lightning.runs.checkpoints import load_vae, weights_epoch
from vae_lightning.runs.directory import EVALUATION, METRICS, find_checkpoint, read_json, stored_metrics
from vae_lightning.runs.published import PUBLISHED, WEIGHTS, load_published, write_published
from vae_lightning.runs.stored_config import read_config
from vae_lightning.whole_files import write_file, write_json

__all__ = ["publish"]

CARD = "README.md"
# Of a run's pictures, those that say most to others.
PICTURES = ("figures/samples.png", "figures/reconstructions.png")


def publish(run: Path, checkpoint: str, folder: Path, onnx: bool = True, license: str | None = None) -> dict[str, str]:
    """Write a run's model with its numbers to a folder for others; nothing in it is of this machine or is uploaded.

    The folder appears when all of it has been written, and the model was read back from it. Numbers and pictures are
    left out if they are of other weights.

    Arguments:
        run: the run directory.
        checkpoint: ``last``, or ``best`` by validation.
        folder: a new or empty folder, whose name is that of the model.
        onnx: whether to write the networks as ONNX files too.
        license: the licence for the model card; None if none is stated.

    Returns:
        What each file is, by name.

    Raises:
        InputError: if there is no such checkpoint, a file of the run is damaged, the model cannot be exported to ONNX
            or needs a file of this machine, or an extra is not installed.
    """
    path = find_checkpoint(run, checkpoint)
    config, epoch = read_config(run), weights_epoch(path)
    vae = load_vae(path, config["model"].get("_target_"))
    numbers = _numbers(run, epoch)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as scratch:
        part = Path(scratch) / "part"
        write_published(part, vae, config, {"checkpoint": checkpoint, "epoch": epoch})
        _check_read_back(part, vae)
        files = {
            CARD: "model card: edit it before you publish",
            str(WEIGHTS): f"weights of epoch {epoch}, {sum(each.numel() for each in vae.parameters()):,} parameters",
            str(PUBLISHED): "configuration, without paths",
        }
        if numbers.metrics:
            write_json(part / METRICS, numbers.metrics)
            files[str(METRICS)] = "final metrics"
        if numbers.evaluation:
            write_json(part / EVALUATION, numbers.evaluation)
            files[str(EVALUATION)] = "results of vae-eval"
        if _drawn_epoch(run) == epoch:
            for name in filter(lambda name: (run / name).is_file(), PICTURES):
                write_file(part / name, (run / name).read_bytes())
                files[name] = "images of the data and the model" if "reconstr" in name else "drawn from the prior"
        if onnx:
            export_onnx(vae, part / "onnx")
            files |= {
                f"onnx/{name}.onnx": f"the {name} for runtimes without PyTorch" for name in ("encoder", "decoder")
            }
        card = model_card(folder.resolve().name, vae, config, epoch, numbers, [*files], license)
        write_file(part / CARD, card)
        if folder.exists():
            folder.rmdir()  # empty
        shutil.move(part, folder)
    return files


def _check_read_back(folder: Path, vae: VAE) -> None:
    again = load_published(folder, trusted=True)[0].state_dict()
    weights = vae.state_dict()
    assert again.keys() == weights.keys()
    assert all(torch.equal(again[name], weight) for name, weight in weights.items())


def _numbers(run: Path, epoch: int) -> Numbers:
    """Return what was measured of the weights of an epoch; numbers of other weights would mislead."""
    stored, evaluation = stored_metrics(run) or {}, _evaluation(run)
    at_the_end = _of_epoch(stored) == epoch
    if evaluation.get("protocol", {}).get("epoch") != epoch:
        evaluation = {}
    metrics = stored if at_the_end else {}
    measured = {name: value for name, value in evaluation.items() if isinstance(value, int | float) and "/" in name}
    return Numbers({**measured, **metrics}, evaluation, same_but_seed(run) if at_the_end else [])


def _evaluation(run: Path) -> dict[str, Any]:
    return read_json(run / EVALUATION) if (run / EVALUATION).is_file() else {}


def _of_epoch(metrics: Mapping[str, float]) -> float | None:
    """Return the epoch of the weights that a run's metrics are of; EarlyStopping may have restored earlier ones."""
    return metrics.get("restored/epoch", metrics.get("epochs"))


def _drawn_epoch(run: Path) -> float | None:
    """Return the epoch of the weights that have drawn the run's pictures, which vae-eval redraws."""
    evaluation = _evaluation(run)
    if evaluation:
        drawn: int | None = evaluation.get("protocol", {}).get("epoch")
        return drawn
    return _of_epoch(stored_metrics(run) or {})
