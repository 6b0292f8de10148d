"""vae-export: write a run's networks as ONNX files, or a folder ready to publish."""

import logging
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from vae_lightning.commands.command import run_command
from vae_lightning.commands.rules import EXPORT as RULES
from vae_lightning.commands.scripts import started
from vae_lightning.config.errors import InputError
from vae_lightning.config.extras import check_installed
from vae_lightning.config.resolving import resolved
from vae_lightning.config.rules import check
from vae_lightning.runs.checking import check_config
from vae_lightning.runs.directory import EXPORT, find_checkpoint
from vae_lightning.runs.stored_config import read_config
from vae_lightning.signals import resumes_by
from vae_lightning.wrapping import fitted

if TYPE_CHECKING:
    from vae_lightning.models.onnx import ONNXFiles
    from vae_lightning.models.vae import VAE

__all__ = ["export", "main"]


def main() -> None:
    """Run the console script."""
    with started("vae-export"):
        run_command(export, "export", bare="run")


def export(cfg: DictConfig) -> "ONNXFiles | Path":
    """Write what ``conf/export.yaml`` describes, print how to load it, and return the ONNX files or the folder.

    Raises:
        InputError: if a key breaks its rule (:mod:`vae_lightning.commands.rules`), there is no such run or checkpoint,
            one of the run's files is damaged or was not written by a run, an extra is missing, or
            :func:`vae_lightning.models.onnx.export_onnx` or :func:`vae_lightning.reports.publishing.publish` raises it.
    """
    options = resolved(cfg)
    check(options, RULES)
    run, to, onnx = Path(options["run"]), options["to"], options["onnx"]
    checkpoint = find_checkpoint(run, options["checkpoint"])
    config = read_config(run)
    check_config(config)
    if to is None and not (onnx and options["license"] is None):
        key = "license" if onnx else "onnx"
        raise InputError(f"{key}={options[key]}: needs to=FOLDER, because only ONNX files are written without it")
    if to is not None:
        _check_new(Path(to))
        check_installed(f"to={to}", "hub", "safetensors", "huggingface_hub")
    if onnx:
        check_installed("ONNX" if to is None else "onnx=true (onnx=false leaves it out)", "onnx", "onnx", "onnxscript")

    where = run / EXPORT if to is None else to
    resumes_by(lambda: f"{where} may be incomplete; the same command starts again")
    # Imported here because it takes seconds.
    from vae_lightning.models.onnx import export_onnx
    from vae_lightning.runs.checkpoints import load_vae
    from vae_lightning.runs.warnings import filter_warnings

    filter_warnings()
    for name in ("onnx_ir", "onnxscript"):
        logging.getLogger(name).setLevel(logging.WARNING)  # they log every step
    if to is not None:
        from vae_lightning.reports.publishing import publish

        files = publish(run, options["checkpoint"], Path(to), onnx, options["license"])
        _print_published(Path(to), files)
        return Path(to)
    vae = load_vae(checkpoint, config["model"].get("_target_"))
    onnx_files = export_onnx(vae, run / EXPORT)
    _print_onnx(vae, onnx_files, config["data"].get("binarisation", "none") == "none")
    return onnx_files


def _check_new(folder: Path) -> None:
    """Refuse a folder in which files would be mixed with others.

    Raises:
        InputError: naming the folder.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"to={folder}: must be a new or empty folder")


def _print_published(folder: Path, files: Mapping[str, str]) -> None:
    print(f"written to {folder}:")
    for file, about in files.items():
        print(f"  {file:30} {about}")
    upload = shlex.join(["hf", "upload", f"USER/{folder.resolve().name}", str(folder), ".", "--private"])
    print("\nto load it:")
    print(f"  run = vae_lightning.load_run({str(folder)!r})")
    print(f"to upload it, after a look at {folder / 'README.md'}:")
    print(f"  {upload}")


def _print_onnx(vae: "VAE", files: "ONNXFiles", grey: bool) -> None:
    from vae_lightning.models.onnx import parameter_shapes

    shape = ", ".join(map(str, vae.image_shape))
    values = "in [0, 1]" if grey else "of 0 and 1"
    posterior = parameter_shapes(vae)
    each = [f"{name} ({', '.join(['N', *map(str, own)])})" for name, own in posterior.items()]
    labels = "" if vae.classes is None else " and labels (N,)"
    taken = f"images (N, {shape}) {values}{labels}"
    for line in (
        f"written to {files.encoder}: {taken} to {', '.join(each)}",
        f"written to {files.decoder}: z (N, {vae.posterior.size}){labels} to images in [0, 1] and logits (N, {shape})",
    ):
        print(fitted(line, sys.stdout))
    print("\nto load them, with the onnxruntime package, float32 arrays and any N:")
    more = "" if vae.classes is None else ", 'labels': labels"
    for file, names, argument, value in (
        (files.encoder, posterior, "images", "images"),
        (files.decoder, ("images", "logits"), "z", next(iter(posterior))),
    ):
        session = f"onnxruntime.InferenceSession({str(file)!r})"
        print(f"  {', '.join(names)} = {session}.run(None, {{{argument!r}: {value}{more}}})")


if __name__ == "__main__":
    main()
