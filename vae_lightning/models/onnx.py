"""Export to ONNX."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from vae_lightning.config.errors import InputError
from vae_lightning.config.extras import check_installed
from vae_lightning.models.eval_mode import eval_mode
from vae_lightning.models.vae import VAE
from vae_lightning.whole_files import write_file

__all__ = ["ONNXFiles", "export_onnx", "parameter_shapes"]


class ONNXFiles(NamedTuple):
    """The paths of the two networks."""

    encoder: Path
    decoder: Path


def export_onnx(vae: "VAE", folder: str | Path) -> ONNXFiles:
    """Write the networks, in evaluation mode and with their weights, to ``encoder.onnx`` and ``decoder.onnx``.

    The encoder maps ``images``, ``(N, C, H, W)`` in [0, 1], to the posterior as
    :meth:`vae_lightning.posteriors.Distribution.named` returns it: for a Gaussian, ``mu`` and ``logvar``, both ``(N,
    latent_dim)``. The decoder maps ``z``, ``(N, size)``, to ``images``, the expected images in [0, 1], and ``logits``,
    the input of the likelihood, both ``(N, C, H, W)``. A model that sees classes also takes ``labels``, ``(N,)`` of
    int64. N is any number, and the dtype is that of the weights.

    Arguments:
        vae: the model, which is left unchanged.
        folder: created if it does not exist; files with these names are replaced.

    Raises:
        InputError: if the extra ``onnx`` is not installed, or ONNX cannot express a network for any N.

    References:
        Open Neural Network Exchange (https://onnx.ai).
        torch.export-based ONNX exporter (https://docs.pytorch.org/docs/stable/onnx_export.html).
    """
    check_installed("ONNX", "onnx", "onnx", "onnxscript")

    def encode(images: "Tensor", *labels: "Tensor") -> tuple["Tensor", ...]:
        return tuple(vae.encode(vae.examples((images, *labels))).named().values())

    def decode(z: "Tensor", *labels: "Tensor") -> tuple["Tensor", "Tensor"]:
        blank = z[:, :1, None, None].expand(-1, *vae.image_shape)  # images that carry the labels
        logits = vae.decode(vae.condition(z, vae.examples((blank, *labels))))
        return vae.likelihood.mean(logits), logits

    contents = {  # both are made before either is written
        "encoder": _onnx("encoder", vae, encode, "images", vae.image_shape, parameter_shapes(vae)),
        "decoder": _onnx("decoder", vae, decode, "z", [vae.posterior.size], ["images", "logits"]),
    }
    files = ONNXFiles(*(Path(folder) / f"{name}.onnx" for name in contents))
    for file, content in zip(files, contents.values(), strict=True):
        write_file(file, content)
    return files


def parameter_shapes(vae: VAE) -> dict[str, tuple[int, ...]]:
    """Return the names of the encoder's outputs, and the shapes of one image's."""
    images = next(vae.parameters()).new_zeros(1, *vae.image_shape)
    with eval_mode(vae):
        posterior = vae.encode(vae.examples((images, torch.zeros(1, dtype=torch.long)))).named()
    return {name: tuple(value.shape[1:]) for name, value in posterior.items()}


def _onnx(
    name: str,
    vae: "VAE",
    function: Callable[..., tuple["Tensor", ...]],
    argument: str,
    shape: Sequence[int],
    results: Iterable[str],
) -> bytes:
    """Return the content of an ONNX file for a function of the model; ``shape`` is that of one input example."""

    class Network(torch.nn.Module):  # torch exports only modules
        def __init__(self) -> None:
            super().__init__()
            self.vae = vae

        def forward(self, *batch: "Tensor") -> tuple["Tensor", ...]:
            return function(*batch)

    network, examples = Network(), [next(vae.parameters()).new_zeros(2, *shape)]
    arguments = [argument]
    if vae.classes is not None:
        examples.append(torch.zeros(2, dtype=torch.long))
        arguments.append("labels")
    dims = {0: torch.export.Dim("N")}
    try:
        # Torch prints its progress, and whole graphs if it cannot trace them.
        with eval_mode(network), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            # Traced here, because torch.onnx.export would accept a network that works only for two examples.
            traced = torch.export.export(network, tuple(examples), dynamic_shapes=((dims,) * len(examples),))
            program = torch.onnx.export(
                traced,
                input_names=arguments,
                output_names=[*results],
                dynamic_shapes=(({0: "N"},) * len(examples),),
                dynamo=True,
            )
    except Exception as error:  # of many types; the innermost cause gives the reason
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        reason = f"{type(cause).__name__}: {cause}".splitlines()[0]
        raise InputError(f"{name}: cannot be exported to ONNX with a variable number of images: {reason}") from error
    assert program is not None
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()  # the source lines of the node, with paths on this machine
    content: bytes = program.model_proto.SerializeToString()
    return content
