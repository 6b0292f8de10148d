"""Features for the linear probe: posterior means of images."""

import math
from collections.abc import Iterable, Sized
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from vae_lightning.config.errors import InputError
from vae_lightning.models.batch import labels_of
from vae_lightning.models.eval_mode import eval_mode
from vae_lightning.models.stack import Stack
from vae_lightning.models.vae import VAE
from vae_lightning.progress_bar import progress_bar

__all__ = ["Features", "encode_each", "encode_images"]


class Features(NamedTuple):
    """The input of a probe: the means of posteriors, ``(N, size)``, and the labels, ``(N,)``."""

    mu: NDArray[np.floating]
    labels: NDArray[np.integer]


def encode_images(vae: VAE, batches: Iterable[tuple[Tensor, Tensor]], limit: int | None = None) -> Features:
    """Encode images to the means of their posteriors, in eval mode and without gradients.

    The model's mode is restored afterwards.

    If several processes get the same batches, each encodes its own rows, and all return the features of all images.

    Arguments:
        vae: the model.
        batches: ``(images, labels)``, the images ``(..., C, H, W)`` in batches or blocks of any size.
        limit: stop after that many images.

    Raises:
        InputError: if a batch has no labels.
    """
    return encode_each(vae, batches, limit)[0]


def encode_each(
    model: VAE | Stack,
    batches: Iterable[Any],
    limit: int | None = None,
    progress: bool = False,
) -> list[Features]:
    """Encode images with all models of a stack at once, as :func:`encode_images` does; a VAE is a stack of one.

    Raises:
        InputError: if a batch has no labels.
    """
    vaes = model.vaes if isinstance(model, Stack) else (model,)
    mus, labels, positions, count = [], [], [], 0
    total = limit or (len(batches) if isinstance(batches, Sized) else math.inf)
    with eval_mode(model), progress_bar(total, "probe: images", shown=progress) as bar:
        for batch in batches:
            # A stack's training batches are lists, which become (1 or K, N, C, H, W) and (1 or K, N).
            is_each = isinstance(model, Stack) and isinstance(batch[0], list)
            pairs = [*zip(*batch, strict=True)] if is_each else [batch]
            shape, label_list = vaes[0].image_shape, [*map(labels_of, pairs)]
            images = torch.stack([vaes[0].examples(pair).flatten(0, -1 - len(shape)) for pair in pairs])
            known = [part.flatten() for part in label_list if part is not None]
            if len(known) < len(pairs) or known[0].numel() != images.shape[1]:
                raise InputError("the data have no labels, i.e. one whole number for each image")
            targets = torch.stack(known)
            rows = vaes[0].rows(targets.shape[1])
            mus.append(model.encode(images[:, rows].to(next(model.parameters()))).mean.float().cpu())
            labels.append(targets[:, rows].cpu())
            positions.append(torch.arange(count, count + targets.shape[1])[rows])
            count += targets.shape[1]
            bar.update(targets.shape[1] if limit else 1)
            if limit is not None and count >= limit:
                break
    mu, label, position = torch.cat(mus, 1), torch.cat(labels, 1), torch.cat(positions)
    if len(position) < count:  # the other processes have the rest
        parts: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(parts, (mu, label, position))
        mu, label = (torch.cat(part, 1) for part in list(zip(*parts, strict=True))[:2])
        order = torch.cat([part[2] for part in parts]).argsort()
        mu, label = mu[:, order], label[:, order]
    label = label.expand(len(vaes), -1)
    return [
        Features(mu[k, :limit, : vae.posterior.size].numpy(), label[k, :limit].numpy()) for k, vae in enumerate(vaes)
    ]
