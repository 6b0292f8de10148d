"""vae-export: write a run's networks as ONNX files."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig

from vae_lightning.commands.command import run_command
from vae_lightning.commands.rules import EXPORT as RULES
from vae_lightning.commands.scripts import started
from vae_lightning.config.extras import check_installed
from vae_lightning.config.resolving import resolved
from vae_lightning.config.rules import check
from vae_lightning.runs.checking import check_config
from vae_lightning.runs.directory import EXPORT, find_checkpoint
from vae_lightning.runs.stored_config import read_config
from vae_lightning.signals import resumes_by

if TYPE_CHECKING:
    from vae_lightning.models.onnx import ONNXFiles

__all__ = ["export", "main"]


def main() -> None:
    """Run the console script."""
    with started("vae-export"):
        run_command(export, "export", bare="run")


def export(cfg: DictConfig) -> "ONNXFiles":
    """Write a run's networks to its ``export/`` as ``conf/export.yaml`` describes, and print how to load them.

    Raises:
        InputError: if a key breaks its rule (:mod:`vae_lightning.commands.rules`), there is no such run or checkpoint,
            one of the run's files is damaged or was not written by a run, or
            :func:`vae_lightning.models.onnx.export_onnx` raises it.
    """
    options = resolved(cfg)
    check(options, RULES)
    run = Path(options["run"])
    checkpoint = find_checkpoint(run, options["checkpoint"])
    config = read_config(run)
    check_config(config)
    check_installed("ONNX", "onnx", "onnx", "onnxscript")

    resumes_by(lambda: f"{run / EXPORT} may be incomplete; the same command starts again")
    # Imported here because it takes seconds.
    from vae_lightning.models.onnx import export_onnx, parameter_shapes
    from vae_lightning.runs.checkpoints import load_vae

    for name in ("onnx_ir", "onnxscript"):
        logging.getLogger(name).setLevel(logging.WARNING)  # they log every step
    vae = load_vae(checkpoint, config["model"].get("_target_"))
    files = export_onnx(vae, run / EXPORT)
    shape = ", ".join(map(str, vae.image_shape))
    values = "in [0, 1]" if config["data"].get("binarisation", "none") == "none" else "of 0 and 1"
    posterior = parameter_shapes(vae)
    each = [f"{name} ({', '.join(['N', *map(str, own)])})" for name, own in posterior.items()]
    labels = "" if vae.classes is None else " and labels (N,)"
    print(f"written to {files.encoder}: images (N, {shape}) {values}{labels} to {', '.join(each)}")
    print(
        f"written to {files.decoder}: z (N, {vae.posterior.size}){labels} to images in [0, 1] and logits (N, {shape})"
    )
    print("\nto load them, with the onnxruntime package, float32 arrays and any N:")
    more = "" if vae.classes is None else ", 'labels': labels"
    for file, names, argument, value in (
        (files.encoder, posterior, "images", "images"),
        (files.decoder, ("images", "logits"), "z", next(iter(posterior))),
    ):
        session = f"onnxruntime.InferenceSession({str(file)!r})"
        print(f"  {', '.join(names)} = {session}.run(None, {{{argument!r}: {value}{more}}})")
    return files


if __name__ == "__main__":
    main()
