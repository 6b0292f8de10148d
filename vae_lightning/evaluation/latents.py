"""The posteriors of a data set's images as arrays, and as a table."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from numpy.typing import NDArray
from torch import Tensor

from vae_lightning.config.errors import InputError
from vae_lightning.data.image_data_module import ImageDataModule
from vae_lightning.data.selection import SPLITS, split_batches
from vae_lightning.models.batch import labels_of
from vae_lightning.models.encode_all import encode_all
from vae_lightning.models.vae import VAE
from vae_lightning.precision import at_least_single
from vae_lightning.progress_bar import progress_bar

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["encode_data", "latents_table"]

Arrays = dict[str, NDArray[Any]]


def encode_data(
    vae: VAE, data: LightningDataModule, split: str = "all", progress: bool = False
) -> dict[str, NDArray[Any]]:
    """Return the posteriors of a data set's images, encoded in eval mode.

    The images are in the order of the data set: training, validation, test.

    Arguments:
        vae: the model.
        data: a datamodule with images of the model's shape.
        split: ``train``, ``val`` or ``test``, or ``all`` for those that there are.
        progress: show a progress bar on a terminal.

    Returns:
        Arrays of N rows by name:

        - ``split``: ``train``, ``val`` or ``test``;
        - ``index``: the position among the training and validation images, or among the test images, in the order in
          which the data set holds them; for data that are not an ImageDataModule, in the order of the batches;
        - ``name``, if the images have names: those in a folder, their files;
        - ``label``, if the data have labels;
        - ``mean``, ``(N, size)``: the representative of the posterior, which the linear probe reads;
        - each parameter of the posterior, for a Gaussian ``mu`` and ``logvar``, both ``(N, latent_dim)``;
        - ``kl``, the KL from the prior in nats, and ``kl_by_dimension``, ``(N, latent_dim)``, if the latent variables
          are independent. Both are left out if the KL is not known in closed form.

    Raises:
        InputError: if the images have another shape, there are none of the split, or the order of the training images
            is not known.
    """
    shape = getattr(data, "image_shape", vae.image_shape)
    if tuple(shape) != vae.image_shape:
        raise InputError(f"data: has images of shape {tuple(shape)}, but the model takes {vae.image_shape}")
    if split == "all" and not isinstance(data, ImageDataModule):
        raise InputError(
            "split=all: must be test or val, unless data is an ImageDataModule, which orders its training images"
        )
    names = [name for name in SPLITS if split in ("all", name)]
    parts: list[Arrays] = []
    for name in names:
        if split == "all" and isinstance(data, ImageDataModule) and parts and not len(data.positions[name]):
            continue
        batches = split_batches(data, name)
        rows = [*_batches_encoded(vae, batches, name, progress)]
        arrays = {key: np.concatenate([row[key] for row in rows]) for key in rows[0]}
        count = len(arrays["mean"])
        index = data.positions[name].numpy() if isinstance(data, ImageDataModule) else np.arange(count)
        names_of = data.names(name) if isinstance(data, ImageDataModule) else None
        named = {} if names_of is None else {"name": np.array(names_of)}
        parts.append({"split": np.full(count, name), "index": index, **named, **arrays})
    return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}


def _batches_encoded(vae: VAE, batches: Any, split: str, progress: bool) -> Iterator[Arrays]:
    with progress_bar(len(batches), f"encode: {split} images", shown=progress) as bar:
        for batch in batches:
            images, labels = vae.examples(batch).flatten(0, -1 - len(vae.image_shape)), labels_of(batch)
            known = labels is not None and labels.numel() == len(images)
            first = {"label": _array(labels.flatten())} if labels is not None and known else {}
            yield first | _encoded(vae, images)
            bar.update()


def _encoded(vae: VAE, images: Tensor) -> Arrays:
    posterior, prior = (each.detach() for each in encode_all(vae, images))
    arrays = {"mean": posterior.mean, **posterior.named()}
    kl = posterior.map(torch.Tensor.double).kl(prior.map(torch.Tensor.double))
    if kl is not None:
        arrays["kl"] = kl.sum(-1).to(posterior.mean)
        if vae.factorised:
            arrays["kl_by_dimension"] = kl.to(posterior.mean)
    return {name: _array(value) for name, value in arrays.items()}


def _array(values: Tensor) -> NDArray[Any]:
    return at_least_single(values).cpu().numpy()


def latents_table(arrays: Mapping[str, NDArray[Any]]) -> "pd.DataFrame":
    """Return the arrays as a table with a column for each number: ``mu_0``, ``mu_1``; ``scale_tril_0_0``, ..."""
    import pandas as pd

    columns: dict[str, NDArray[Any]] = {}
    for name, values in arrays.items():
        for place in np.ndindex(*values.shape[1:]):
            columns["_".join([name, *map(str, place)])] = values[(slice(None), *place)]
    return pd.DataFrame(columns)
