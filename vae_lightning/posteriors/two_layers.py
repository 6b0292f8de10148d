"""Two stochastic layers of discrete latents."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vae_lightning.config.arguments import checked
from vae_lightning.config.errors import InputError
from vae_lightning.config.targets import build
from vae_lightning.posteriors.bernoulli import Bernoulli
from vae_lightning.posteriors.categorical import Categorical
from vae_lightning.posteriors.discrete import DiscreteDistribution, DiscreteLatents, Layer
from vae_lightning.posteriors.distribution import Distribution
from vae_lightning.posteriors.posterior import Posterior
from vae_lightning.posteriors.rules import other_layer

__all__ = ["BERNOULLI", "LayerNetwork", "TwoLayers", "TwoLayersDistribution"]

BERNOULLI: Mapping[str, Any] = {"_target_": "vae_lightning.posteriors.Bernoulli"}


class LayerNetwork(nn.Module):
    """The weights of linear layers, with ELU between them, from one layer of latents to the logits of another.

    Arguments:
        sizes: the number of inputs, of each hidden layer's units, and of outputs.
    """

    def __init__(self, sizes: Sequence[int]) -> None:
        super().__init__()
        tensors = []
        for inputs, outputs in pairwise(sizes):
            bound = inputs**-0.5  # as that of nn.Linear
            tensors += [torch.empty(shape).uniform_(-bound, bound) for shape in ((inputs, outputs), (1, outputs))]
        self.tensors = nn.ParameterList(tensors)

    def forward(self) -> tuple[Tensor, ...]:
        """Return the weights ``(in, out)`` and the biases ``(1, out)`` of the layers in turn."""
        return tuple(self.tensors)


class _Parameters(NamedTuple):
    first: DiscreteDistribution
    network: tuple[Tensor, ...]


class TwoLayersDistribution(_Parameters, DiscreteLatents):
    """Two layers of discrete variables, of which the first is drawn first, and the second depends on it.

    Latents are those of both layers side by side, and so is their noise.

    Attributes:
        first: the distribution of the first layer.
        network: the weights ``(..., in, out)`` and biases ``(..., 1, out)`` in turn, from latents of the first layer to
            logits of the second.
    """

    __slots__ = ()

    def second(self, z: Tensor) -> DiscreteDistribution:
        """Return the distribution of the second layer given latents of the first, ``(..., B, size / 2)``."""
        for place, (weight, bias) in enumerate(zip(self.network[::2], self.network[1::2], strict=True)):
            z = (F.elu(z) if place else z) @ weight + bias
        dims = 1 if self.first.event_dims is None else self.first.event_dims[0]
        first: Any = self.first
        second: DiscreteDistribution = first._replace(logits=z.unflatten(-1, self.first.logits.shape[-dims:]))
        return second

    @staticmethod
    def joined(first: Tensor, second: Tensor) -> Tensor:
        """Return the latents of both layers, ``(..., B, size)``."""
        return torch.cat([first, second], -1)

    @staticmethod
    def split(z: Tensor) -> tuple[Tensor, ...]:
        """Return the latents of each layer, ``(..., B, size / 2)``."""
        return z.chunk(2, -1)

    @property
    def noise_size(self) -> int:
        return 2 * self.first.noise_size

    @property
    def mean(self) -> Tensor:
        """The mean of the first layer, and that of the second given this mean."""
        first = self.first.mean
        return self.joined(first, self.second(first).mean)

    def log_prob(self, z: Tensor) -> Tensor:
        first, second = self.split(z)
        of_first, of_second = self.first.log_prob(first), self.second(first).log_prob(second)
        return of_first.sum(-1, keepdim=True) + of_second.sum(-1, keepdim=True)

    def states(self) -> Tensor:
        return self.first.states()

    def drawn(self, noise: Tensor, draw: Callable[[DiscreteDistribution, Tensor], Tensor]) -> Tensor:
        first_noise, second_noise = noise.chunk(2, -1)
        first = draw(self.first, first_noise)
        return self.joined(first, draw(self.second(first), second_noise))

    def layers(self, z: Tensor, noise: Tensor) -> list[Layer]:
        first, second = self.split(z)
        size = self.first.noise_size

        def follow(other: Tensor, smooth: bool) -> Tensor:
            after = self.second(other)
            return self.joined(other, after.mean if smooth else after.hard(noise[..., size:]))

        return [
            Layer(self.first, first, slice(size), follow),
            Layer(
                self.second(first),
                second,
                slice(size, None),
                lambda other, smooth: self.joined(first.expand_as(other), other),
            ),
        ]

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        return type(self)(self.first.map(function), tuple(map(function, self.network)))

    def as_components(self, extra: int = 0) -> Self:
        return type(self)(
            self.first.as_components(extra), tuple(tensor.unsqueeze(-3 - extra) for tensor in self.network)
        )

    @classmethod
    def concatenated(cls, parts: Sequence[Self]) -> Self:
        return cls(type(parts[0].first).concatenated([part.first for part in parts]), parts[0].network)

    def named(self) -> dict[str, Tensor]:
        """Return the mean of both layers, and the parameters of the first."""
        return self.first.named() | {"mean": self.mean}


class TwoLayers(Posterior):
    r"""Two layers of discrete latents, the second of which depends on the image through the first.

    .. math:: q(z|x) = q(z_1|x) \, q(z_2|z_1), \qquad p(x, z) = p(z_2) \, p(z_1|z_2) \, p(x|z_1)

    The encoder's output is that of the first layer. The decoder sees the first layer alone; the prior
    :class:`vae_lightning.priors.TwoLayers` has the map from the second to the first.

    Arguments:
        latent_dim: number of latent variables of each layer.
        layer: the family of both layers: ``_target_``, Bernoulli or Categorical, and its arguments.
        widths: hidden layers of the network from the first to the second; none: it is linear.

    Raises:
        InputError: if an argument breaks its rule (:mod:`vae_lightning.posteriors.rules`), or ``layer`` is of another
            family.

    References:
        Neural Variational Inference and Learning in Belief Networks, Mnih and Gregor, 2014
        (https://arxiv.org/abs/1402.0030). REBAR: Low-variance, unbiased gradient estimates for discrete latent variable
        models, Tucker et al., 2017 (https://arxiv.org/abs/1703.07370), section 6: the linear model of two layers.
    """

    any_batch = True
    differentiable = False

    @checked
    def __init__(self, latent_dim: int, layer: Mapping[str, Any] = BERNOULLI, widths: Sequence[int] = ()) -> None:
        super().__init__(2 * latent_dim)
        family = build("layer", layer, Posterior, latent_dim=latent_dim)  # type: ignore[type-abstract]
        if not isinstance(family, Bernoulli | Categorical):
            raise InputError(other_layer(type(family).__name__))
        self.layer, self.support, self.values = family, family.support, family.values
        self.network = LayerNetwork([family.size, *widths, family.outputs])

    @property
    def size(self) -> int:
        return 2 * self.layer.size

    @property
    def outputs(self) -> int:
        return self.layer.outputs

    @property
    def layer_sizes(self) -> list[int]:
        return [self.layer.size] * 2

    @property
    def layer_family(self) -> str:
        return self.layer.layer_family

    def forward(self, encoded: Tensor) -> TwoLayersDistribution:
        return TwoLayersDistribution(self.layer(encoded), self.network())

    def standard(self, like: Tensor) -> Distribution:
        """Return that of one layer, for both."""
        return self.layer.standard(like).map(lambda tensor: torch.cat([tensor, tensor], 1))
