"""A run as the page shows it: pure functions of its model and images."""

import threading
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor

from vae_lightning.config.errors import InputError
from vae_lightning.data.selection import split_batches, spread
from vae_lightning.explorer.classifier import Classifier, fit_classifier
from vae_lightning.explorer.latent_map import LatentMap, latent_map
from vae_lightning.explorer.supports import between, onto
from vae_lightning.models.encode_all import encode_all
from vae_lightning.models.labelled import with_labels
from vae_lightning.models.vae import VAE
from vae_lightning.posteriors.statistics import mean_kl
from vae_lightning.runs.directory import stored_metrics
from vae_lightning.runs.loading import load_run
from vae_lightning.streams import generator

__all__ = ["ExploredRun", "Seen"]

# The scale of the sliders: the prior's quantiles from -3 to 3 standard deviations of a normal distribution.
STEPS = torch.linspace(-3, 3, 121, dtype=torch.float64)
# Samples that give the prior's quantiles where they have no formula, and samples that give a posterior's deviation.
QUANTILE_SAMPLES, DEVIATION_SAMPLES = 10_000, 256


class Seen(NamedTuple):
    """What the model makes of an image.

    Attributes:
        mean: the posterior's mean, ``(size,)``.
        std: the standard deviation of each number, ``(size,)``, from samples.
        reconstruction: ``(C, H, W)``, in [0, 1].
    """

    mean: Tensor
    std: Tensor
    reconstruction: Tensor


class ExploredRun:
    """A run's model with a selection of its images.

    Arguments:
        name: the run's name.
        vae: the model, in eval mode.
        data: its data, before ``prepare_data``.
        split: ``test``, ``val`` or ``train``.
        images: how many images to take, evenly spaced over the split.

    Attributes:
        images: ``(N, C, H, W)``, in [0, 1].
        labels: ``(N,)``; None if the data have none.
        mean: the posterior means of the images, ``(N, size)``.
        kl: the mean KL of each latent variable in nats, ``(latent_dim,)``; None if it is not known by variable.
        order: the latent variables by descending KL, or by descending variance of the mean where ``kl`` is None; with
            several layers of latents, those of the layer that the decoder sees.
        range: the prior's quantiles at the ends of the sliders, ``(2, size)``.

    Raises:
        InputError: if the data cannot be found, or lack labels that the model needs.
    """

    @torch.no_grad()
    def __init__(self, name: str, vae: VAE, data: LightningDataModule, split: str, images: int) -> None:
        self.name, self.vae, self.data = name, vae, data
        self.images, self.labels = spread(split_batches(data, split), images, vae.image_shape)
        if len(self.images) < 2:
            raise InputError(f"split={split}: must be another, because the map needs two images or more")
        posterior, prior = encode_all(vae, vae.examples((self.images, self.labels)))
        self.mean = posterior.mean.float()
        self._prior = prior.map(Tensor.float)
        noise = torch.randn(len(self.images), posterior.noise_size, generator=generator(vae.seed, "posterior"))
        kl = mean_kl(posterior, prior, noise)
        self.kl = kl if vae.factorised else None
        seen = self.mean[:, : vae.posterior.layer_sizes[0]]
        spread_of = seen.var(0).unflatten(0, (vae.latent_dim, -1)).sum(-1)
        self.order: list[int] = (spread_of if self.kl is None else kl).argsort(descending=True, stable=True).tolist()
        self._quantiles = self._prior.quantiles(torch.special.ndtr(STEPS), self._noise(QUANTILE_SAMPLES))
        self.range = self._quantiles[[0, -1]]
        self._maps: dict[str, LatentMap] = {}
        self._lock = threading.Lock()

    @classmethod
    def load(cls, run: Path, checkpoint: str, moved: Mapping[str, Any], split: str, images: int) -> "ExploredRun":
        """Load a run from its directory; see :func:`vae_lightning.runs.loading.load_run`."""
        loaded = load_run(run, checkpoint, data=moved)
        return cls(run.resolve().name, loaded.vae, loaded.data, split, images)

    def facts(self, run: Path) -> dict[str, str]:
        """Return what the page's head says of the run."""
        metrics = stored_metrics(run) or {}
        names = {"test loss": "test/loss", "probe accuracy": "probe/test_acc"}
        numbers = {name: f"{metrics[key]:.4g}" for name, key in names.items() if key in metrics}
        data = type(self.data).__name__.removesuffix("DataModule")
        return {"data": data, "latent_dim": str(self.vae.latent_dim), **numbers}

    @torch.no_grad()
    def decode(self, z: Tensor, label: int = 0) -> Tensor:
        """Return the images ``(M, C, H, W)``, in [0, 1], that latents ``(M, size)`` are decoded to.

        Arguments:
            z: latents.
            label: the class, for a model that sees classes.
        """
        given = self._labelled(torch.zeros(1, *self.vae.image_shape), label)
        return self.vae.likelihood.mean(self.vae.decode(self.vae.condition(self._as_weights(z), given))).float()

    @torch.no_grad()
    def see(self, image: Tensor, label: int = 0) -> Seen:
        """Return what the model makes of an image ``(C, H, W)`` in [0, 1], of a class if it sees classes."""
        posterior = self.vae.encode(self._as_weights(self._labelled(image[None], label))).map(Tensor.float)
        mean = posterior.mean[0]
        noise = torch.randn(DEVIATION_SAMPLES, 1, posterior.noise_size, generator=generator(self.vae.seed, "posterior"))
        return Seen(mean, posterior.rsample(noise)[:, 0].std(0), self.decode(mean[None], label)[0])

    @torch.no_grad()
    def traversal(self, z: Tensor, dimension: int) -> Tensor:
        """Return the latents along a slider, ``(V, size)``: one variable of ``z`` at the prior's quantiles.

        Discrete variables have a row for each of their values.
        """
        quantiles = self._quantiles[:, dimension % self._quantiles.shape[1]]
        return self.vae.posterior.moved(z, dimension, quantiles)

    @torch.no_grad()
    def interpolation(self, start: Tensor, end: Tensor, places: Tensor) -> Tensor:
        """Return latents on the way between two; see :func:`vae_lightning.explorer.supports.between`."""
        return between(self.vae.posterior, start, end, places)

    def onto_support(self, z: Tensor) -> Tensor:
        """Return latents on the support; see :func:`vae_lightning.explorer.supports.onto`."""
        return onto(self.vae.posterior, z)

    @torch.no_grad()
    def prior_latents(self, count: int, draw: int = 0) -> Tensor:
        """Return latents of the prior, ``(count, size)``; another ``draw`` gives others."""
        return self._prior.rsample(self._noise(count, draw))

    @torch.no_grad()
    def samples(self, count: int, draw: int, label: int | None) -> Tensor:
        """Return images of the prior, ``(count, C, H, W)``: of a class, or of all in turn for None."""
        z = self.prior_latents(count, draw)
        if self.vae.classes is None or label is not None:
            return self.decode(z, label or 0)
        images = torch.empty(count, *self.vae.image_shape)
        for each in range(min(self.vae.classes, count)):
            images[each :: self.vae.classes] = self.decode(z[each :: self.vae.classes], each)
        return images

    def map(self, kind: str) -> LatentMap:
        """Return a map of the images, computed once; see :func:`vae_lightning.explorer.latent_map.latent_map`."""
        with self._lock:
            if kind not in self._maps:
                self._maps[kind] = latent_map(kind, self.mean, self.labels)
            return self._maps[kind]

    @cached_property
    def classifier(self) -> Classifier | str:
        """The linear probe, fitted once, or why there is none."""
        with self._lock:
            try:
                return fit_classifier(self.vae, self.data)
            except InputError as error:
                return f"No probe: {error}"

    def numbers_in_order(self) -> list[int]:
        """Return the places of the numbers that represent the latents, in the order of their latent variables."""
        each = self.mean.shape[1] // self.vae.posterior.latent_dim
        return [number for variable in self.order for number in range(variable * each, (variable + 1) * each)]

    def label(self, index: int) -> int | None:
        """Return the label of one of the images."""
        return None if self.labels is None else int(self.labels[index])

    def _noise(self, count: int, draw: int = 0) -> Tensor:
        return torch.randn(count, self._prior.noise_size, generator=generator(self.vae.seed, "prior", draw))

    def _labelled(self, images: Tensor, label: int) -> Tensor:
        return images if self.vae.classes is None else with_labels(images, torch.full((len(images),), label))

    def _as_weights(self, values: Tensor) -> Tensor:
        return values.to(next(self.vae.parameters()))
