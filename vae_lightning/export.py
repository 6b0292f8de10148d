"""vae-export: the encoder and the decoder as ONNX files, for use without torch."""

import logging
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from omegaconf import DictConfig

from vae_lightning.checks import EXPORT as RULES
from vae_lightning.checks import InputError, check, check_config, check_installed
from vae_lightning.command import resolved, run_command
from vae_lightning.run_directory import EXPORT, find_checkpoint, read_config, write_file

if TYPE_CHECKING:
    from torch import Tensor

    from vae_lightning.vae import VAE

__all__ = ["ONNXFiles", "export", "export_onnx", "main"]


class ONNXFiles(NamedTuple):
    """Where the two networks are."""

    encoder: Path
    decoder: Path


def main() -> None:
    """The console script."""
    run_command(export, "export")


def export(cfg: DictConfig) -> ONNXFiles:
    """Write a run's networks into its ``export/`` as ``conf/export.yaml`` says, and print how to load them.

    Raises:
        InputError: if a key is not what :mod:`vae_lightning.checks` allows, there is no such run or checkpoint, or one
            of the run's files is not what a run writes; and as :func:`export_onnx` does.
    """
    options = resolved(cfg)
    check(options, RULES)
    run = Path(options["run"])
    checkpoint = find_checkpoint(run, options["checkpoint"])
    config = read_config(run)
    check_config(config)
    check_installed("ONNX", "onnx", "onnx", "onnxscript")

    # Only now, since it takes seconds to import.
    from vae_lightning.checkpoints import load_vae

    for name in ("onnx_ir", "onnxscript"):
        logging.getLogger(name).setLevel(logging.WARNING)  # they tell of every step
    vae = load_vae(checkpoint, config["model"].get("_target_"))
    files = export_onnx(vae, run / EXPORT)
    shape = ", ".join(map(str, vae.image_shape))
    values = "in [0, 1]" if config["data"].get("binarisation", "none") == "none" else "of 0 and 1"
    print(f"written to {files.encoder}: images (N, {shape}) {values} to mu and logvar (N, {vae.latent_dim})")
    print(f"written to {files.decoder}: z (N, {vae.latent_dim}) to images in [0, 1] and logits (N, {shape})")
    print("\nto load them, with the package onnxruntime and arrays of float32, N any number:")
    print(f"  mu, logvar = onnxruntime.InferenceSession({str(files.encoder)!r}).run(None, {{'images': images}})")
    print(f"  images, logits = onnxruntime.InferenceSession({str(files.decoder)!r}).run(None, {{'z': mu}})")
    return files


def export_onnx(vae: "VAE", folder: str | Path) -> ONNXFiles:
    """Write the networks, in evaluation mode and with their weights, to ``encoder.onnx`` and ``decoder.onnx``.

    The encoder maps ``images``, ``(N, C, H, W)`` in [0, 1], to ``mu`` and ``logvar``, both ``(N, latent_dim)``. The
    decoder maps ``z``, ``(N, latent_dim)``, to ``images``, the expected ones in [0, 1], and ``logits``, what the
    likelihood is of, both ``(N, C, H, W)``. N is any number, and the dtype that of the weights.

    Arguments:
        vae: the model; it is left as it was found.
        folder: made if it is not there; files of these names are replaced.

    Raises:
        InputError: if the extra ``onnx`` is not installed, or ONNX cannot express a network for any N.

    References:
        Open Neural Network Exchange (https://onnx.ai).
        torch.export-based ONNX exporter (https://docs.pytorch.org/docs/stable/onnx_export.html).
    """
    check_installed("ONNX", "onnx", "onnx", "onnxscript")

    def decode(z: "Tensor") -> tuple["Tensor", "Tensor"]:
        logits = vae.decode(z)
        return vae.likelihood.mean(logits), logits

    contents = {  # both made before one is written
        "encoder": _onnx("encoder", vae, vae.encode, "images", vae.image_shape, ["mu", "logvar"]),
        "decoder": _onnx("decoder", vae, decode, "z", [vae.latent_dim], ["images", "logits"]),
    }
    files = ONNXFiles(*(Path(folder) / f"{name}.onnx" for name in contents))
    for file, content in zip(files, contents.values(), strict=True):
        write_file(file, content)
    return files


def _onnx(
    name: str,
    vae: "VAE",
    function: Callable[["Tensor"], tuple["Tensor", ...]],
    argument: str,
    shape: Sequence[int],
    results: Sequence[str],
) -> bytes:
    """The content of a file: a function of the model, from a batch with examples of that shape to others."""
    import torch

    from vae_lightning.vae import evaluating

    class Network(torch.nn.Module):  # torch exports modules alone
        def __init__(self) -> None:
            super().__init__()
            self.vae = vae

        def forward(self, batch: "Tensor") -> tuple["Tensor", ...]:
            return function(batch)

    network, examples = Network(), next(vae.parameters()).new_zeros(2, *shape)
    try:
        # Torch prints its progress, and of what it cannot trace whole graphs.
        with evaluating(network), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            # Traced here, since torch.onnx.export would be content with two examples where any number fails.
            traced = torch.export.export(network, (examples,), dynamic_shapes=({0: torch.export.Dim("N")},))
            program = torch.onnx.export(
                traced, input_names=[argument], output_names=results, dynamic_shapes=({0: "N"},), dynamo=True
            )
    except Exception as error:  # of many kinds, the one that tells the reason at the bottom
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        reason = f"{type(cause).__name__}: {cause}".splitlines()[0]
        raise InputError(f"{name}: cannot be expressed in ONNX for any number of images: {reason}") from error
    assert program is not None
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()  # the lines of source that it comes from, with this machine's paths
    content: bytes = program.model_proto.SerializeToString()
    return content


if __name__ == "__main__":
    main()
