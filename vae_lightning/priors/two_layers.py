"""The prior of two stochastic layers."""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from torch import Tensor

from vae_lightning.config.arguments import checked
from vae_lightning.config.errors import InputError
from vae_lightning.config.targets import build
from vae_lightning.posteriors import two_layers
from vae_lightning.posteriors.posterior import Posterior
from vae_lightning.priors.prior import Prior
from vae_lightning.priors.rules import other_top, single_layer

__all__ = ["TopDownDistribution", "TwoLayers"]

STANDARD: Mapping[str, Any] = {"_target_": "vae_lightning.priors.Standard"}


class TopDownDistribution(two_layers.TwoLayersDistribution):
    """Two layers of discrete variables, of which the second is drawn first; latents are in the order of the layers."""

    __slots__ = ()

    @staticmethod
    def joined(first: Tensor, second: Tensor) -> Tensor:
        return two_layers.TwoLayersDistribution.joined(second, first)

    @staticmethod
    def split(z: Tensor) -> tuple[Tensor, ...]:
        return two_layers.TwoLayersDistribution.split(z)[::-1]


class TwoLayers(Prior):
    r"""The prior of :class:`vae_lightning.posteriors.TwoLayers`.

    .. math:: p(z) = p(z_2) \, p(z_1|z_2)

    The first layer depends on the second, the top layer, through a learned network.

    Arguments:
        latent_dim: number of latent variables of each layer.
        image_shape: ``(C, H, W)``, not used.
        top: the prior of the top layer: ``_target_``, a prior of independent variables, and its arguments.
        widths: hidden layers of the network from the second to the first; none: it is linear.

    Raises:
        InputError: if an argument breaks its rule (:mod:`vae_lightning.priors.rules`), the variables of ``top`` are not
            independent, or the posterior has a single layer.

    References:
        As for :class:`vae_lightning.posteriors.TwoLayers`.
    """

    any_batch = True

    @checked
    def __init__(
        self,
        latent_dim: int,
        image_shape: Sequence[int],
        top: Mapping[str, Any] = STANDARD,
        widths: Sequence[int] = (),
    ) -> None:
        super().__init__(latent_dim, image_shape)
        self.widths = tuple(widths)
        self.top = build("top", top, Prior, latent_dim=latent_dim, image_shape=image_shape)  # type: ignore[type-abstract]
        if not self.top.factorised:
            raise InputError(other_top(type(self.top).__name__))
        self.support = self.top.support

    def prepare(self, posterior: Posterior) -> None:
        if not isinstance(posterior, two_layers.TwoLayers):
            raise InputError(single_layer(type(posterior).__name__))
        self.top.prepare(posterior.layer)
        self.network = two_layers.LayerNetwork([posterior.layer.size, *self.widths, posterior.layer.outputs])

    def forward(self, model: Any, like: Tensor) -> TopDownDistribution:
        layer = SimpleNamespace(posterior=model.posterior.layer)
        return TopDownDistribution(self.top(layer, like), self.network())
