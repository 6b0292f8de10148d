"""Images, histograms and embeddings in trackers."""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from torch import Tensor
from torch.nn import functional

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


def show_embedding(
    loggers: Iterable[Logger], tag: str, points: Tensor, labels: Tensor | None, images: Tensor, step: int
) -> None:
    """Add points to TensorBoard's projector, with labels and thumbnails.

    Arguments:
        loggers: all loggers except TensorBoard's are ignored.
        tag: the name of the points.
        points: ``(N, D)``.
        labels: ``(N,)``, or None.
        images: ``(N, C, H, W)``, in [0, 1].
        step: the optimiser step at which the points were computed.
    """
    height, width = images.shape[-2:]
    # torch cannot arrange thumbnails that are higher than wide.
    images = functional.pad(images, (0, max(0, height - width)))
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            # An earlier test at this step may have left the folder, and torch would print that it exists.
            shutil.rmtree(Path(logger.log_dir) / str(step).zfill(5), ignore_errors=True)
            logger.experiment.add_embedding(points, None if labels is None else labels.tolist(), images, step, tag)
