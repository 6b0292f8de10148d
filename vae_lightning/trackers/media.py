"""Images, histograms and embeddings in trackers."""

import io
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from torch import Tensor
from torch.nn import functional

from vae_lightning.whole_files import COMPRESSION, write_file

__all__ = ["show_embedding", "show_histogram", "show_image"]


def show_image(loggers: Iterable[Logger], tag: str, image: Tensor, step: int) -> None:
    """Log a picture.

    Arguments:
        loggers: loggers that accept no pictures are ignored.
        tag: the picture's name, the same at every step.
        image: ``(C, H, W)``, in [0, 1].
        step: the optimiser step at which the picture was made.
    """
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(tag, image, step)
        elif isinstance(logger, WandbLogger):
            logger.log_image(tag, [_as_pil(image)], step)
        elif isinstance(logger, MLFlowLogger):
            logger.experiment.log_image(logger.run_id, _as_pil(image), key=tag, step=step, synchronous=True)


def _as_pil(image: Tensor) -> Any:
    # Imported here because it takes a second, and TensorBoard does without.
    from torchvision.transforms.functional import to_pil_image

    return to_pil_image(image)


def show_histogram(loggers: Iterable[Logger], tag: str, values: Tensor, step: int) -> None:
    """Log a histogram of values ``(N,)`` to TensorBoard and Weights & Biases; arguments as in :func:`show_image`."""
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_histogram(tag, values, step)
        elif isinstance(logger, WandbLogger):
            import wandb

            histogram: Any = wandb.Histogram(values.tolist())
            logger.log_metrics({tag: histogram}, step)


def show_embedding(loggers: Iterable[Logger], tag: str, points: Tensor, labels: Tensor | None, images: Tensor) -> None:
    """Show points in TensorBoard's projector, with labels and thumbnails, instead of those shown earlier.

    The projector always starts without colours; a bookmark colours the points by their labels.

    Arguments:
        loggers: all loggers except TensorBoard's are ignored.
        tag: the name of the points.
        points: ``(N, D)``.
        labels: ``(N,)``, or None.
        images: ``(N, 1 or 3, H, W)``, in [0, 1].
    """
    height, width = images.shape[-2:]
    # torch cannot arrange thumbnails that are higher than wide.
    images = functional.pad(images, (0, max(0, height - width)))
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            folder = Path(logger.log_dir)
            for name, content in _projector_files(tag, points, labels, images).items():
                write_file(folder / name, content)


def _projector_files(tag: str, points: Tensor, labels: Tensor | None, images: Tensor) -> dict[str, str | bytes]:
    """Return the files of the projector by path, the one that names the others last."""
    height, width = images.shape[-2:]
    table = "\n".join("\t".join(f"{number:.7g}" for number in point) for point in points.tolist())
    files: dict[str, str | bytes] = {"projector/points.tsv": table + "\n", "projector/sprite.png": _sprite(images)}
    config = [f'tensor_name: "{tag}"', 'tensor_path: "projector/points.tsv"']
    config += [f'sprite {{ image_path: "projector/sprite.png" single_image_dim: [{width}, {height}] }}']
    if labels is not None:
        # With a second column, the projector expects the names of the columns.
        rows = ["label\timage", *(f"{label}\t{place}" for place, label in enumerate(labels.tolist()))]
        files["projector/labels.tsv"] = "\n".join(rows) + "\n"
        files["projector/bookmarks.json"] = json.dumps([_by_label(min(3, points.shape[1]))])
        config += ['metadata_path: "projector/labels.tsv"', 'bookmarks_path: "projector/bookmarks.json"']
    content = "\n".join(["embeddings {", *(f"  {line}" for line in config), "}"])
    return {**files, "projector_config.pbtxt": content + "\n"}


def _by_label(components: int) -> dict[str, Any]:
    """Return the projector's state with the points on so many principal components, coloured by their labels.

    The projector needs all of these fields, most of which are its defaults.
    """
    return {
        "label": "by label",
        "selectedColorOptionName": "label",
        "selectedLabelOption": "label",
        "selectedProjection": "pca",
        "pcaComponentDimensions": [*range(components)],
        "projections": [],
        "selectedPoints": [],
        "tSNEIteration": 0,
        "tSNEPerplexity": 25,
        "tSNELearningRate": 10,
        "tSNEis3d": True,
        "umapIs3d": True,
        "umapNeighbors": 15,
        "umapMinDist": 0.1,
        "customSelectedSearchByMetadataOption": "label",
        **{f"custom{side}Text": "" for side in ("XLeft", "XRight", "YUp", "YDown")},
        **{f"custom{side}Regex": False for side in ("XLeft", "XRight", "YUp", "YDown")},
    }


def _sprite(images: Tensor) -> bytes:
    """Return images ``(N, 1 or 3, H, W)`` in [0, 1] as the square grid of thumbnails that the projector cuts up."""
    from PIL import Image

    side = math.ceil(math.sqrt(len(images)))
    filled = torch.cat([images, images.new_zeros(side**2 - len(images), *images.shape[1:])])
    grid = filled.unflatten(0, (side, side)).permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1)  # (H, W, channels)
    pixels = grid.clamp(0, 1).mul(255).round().byte().cpu().squeeze(-1).numpy()
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG", compress_level=COMPRESSION)
    return content.getvalue()
