"""Maps of a latent space: where each latent is drawn, and which latent a place on the map stands for."""

from abc import ABC, abstractmethod
from importlib.util import find_spec

import torch
from torch import Tensor

from vae_lightning.evaluation.latent_space import Plane

__all__ = ["LatentMap", "PlaneMap", "UMAPMap", "latent_map", "projections"]

# Neighbours that stand for a place on a map without a formula.
NEIGHBOURS = 8


class LatentMap(ABC):
    """A map of latents in two dimensions.

    Attributes:
        points: the places of the images on the map, ``(N, 2)``.
        names: names of the axes.
    """

    points: Tensor
    names: tuple[str, str]

    @abstractmethod
    def place(self, z: Tensor) -> Tensor:
        """Return the places of latents ``(..., size)`` on the map, ``(..., 2)``."""

    @abstractmethod
    def latent(self, place: Tensor, anchor: Tensor) -> Tensor:
        """Return the latent ``(size,)`` that a place ``(2,)`` stands for.

        Arguments:
            place: the place.
            anchor: the latent that is moved there, ``(size,)``: what the map does not show stays as it is.
        """

    def nearest(self, place: Tensor, radius: float) -> int | None:
        """Return the index of the image nearest to a place ``(2,)``; None if none is within the radius."""
        distances = torch.linalg.vector_norm(self.points - place, dim=-1)
        index = int(distances.argmin())
        return index if distances[index] <= radius else None


class PlaneMap(LatentMap):
    """A plane through the latents: two dimensions, or the two principal components.

    Arguments:
        mean: the posterior means, ``(N, size)``. A single dimension is drawn to the right, and the label upwards.
        labels: ``(N,)``; None for none.
        principal: whether the plane is that of the principal components if there are more than two dimensions.
    """

    def __init__(self, mean: Tensor, labels: Tensor | None, principal: bool) -> None:
        plane = Plane(mean.double().numpy(), principal)
        self.names = plane.names
        self._centre = torch.from_numpy(plane.centre).to(mean)
        self._axes = torch.zeros(mean.shape[1], 2, dtype=mean.dtype)
        self._axes[:, : plane.axes.shape[1]] = torch.from_numpy(plane.axes.copy())
        self.points = self.place(mean)
        if plane.dimensions == 1 and labels is not None:
            self.points[:, 1] = labels.to(mean)

    def place(self, z: Tensor) -> Tensor:
        return (z - self._centre) @ self._axes

    def latent(self, place: Tensor, anchor: Tensor) -> Tensor:
        return anchor + self._axes @ (place - self.place(anchor))


class UMAPMap(LatentMap):
    """A map by UMAP, which keeps neighbours together. A place between images stands for the mean of its neighbours.

    Arguments:
        mean: the posterior means, ``(N, size)``.
        seed: seed of the layout.

    References:
        UMAP: Uniform Manifold Approximation and Projection for Dimension Reduction, McInnes, Healy and Melville, 2018
        (https://arxiv.org/abs/1802.03426).
    """

    names = ("UMAP 1", "UMAP 2")

    def __init__(self, mean: Tensor, seed: int = 0) -> None:
        from umap import UMAP  # takes seconds

        self._mean = mean
        layout = UMAP(n_neighbors=min(15, len(mean) - 1), random_state=seed, n_jobs=1)
        self.points = torch.from_numpy(layout.fit_transform(mean.double().numpy())).to(mean)

    def place(self, z: Tensor) -> Tensor:
        return _blend(z, self._mean, self.points)

    def latent(self, place: Tensor, anchor: Tensor) -> Tensor:
        return _blend(place, self.points, self._mean)


def _blend(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Return the values of the nearest keys, weighted by the inverse of their squared distances."""
    distances, nearest = torch.cdist(query.reshape(-1, query.shape[-1]), keys).topk(
        min(NEIGHBOURS, len(keys)), largest=False
    )
    weights = 1 / distances.square().clamp(min=1e-12)
    blended = (weights[..., None] * values[nearest]).sum(-2) / weights.sum(-1, keepdim=True)
    return blended.view(*query.shape[:-1], -1)


def projections(size: int) -> dict[str, str]:
    """Return the kinds of maps of latents of ``size`` numbers, and their names; UMAP if it is installed."""
    plane = {"principal": "Principal components", "first": "First two dimensions"} if size > 2 else {"first": "As is"}
    return plane | ({"umap": "UMAP"} if find_spec("umap") else {})


def latent_map(kind: str, mean: Tensor, labels: Tensor | None) -> LatentMap:
    """Return the map of one of the kinds of :func:`projections`; UMAP takes seconds."""
    return UMAPMap(mean) if kind == "umap" else PlaneMap(mean, labels, principal=kind == "principal")
