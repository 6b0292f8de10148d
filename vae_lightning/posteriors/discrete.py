"""What the distributions of discrete latents share."""

from abc import abstractmethod
from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from vae_lightning.posteriors.distribution import Distribution

__all__ = ["DiscreteDistribution", "DiscreteLatents", "Layer"]


class DiscreteLatents(Distribution):
    """Discrete latents in one or more stochastic layers, each of which depends on those before it."""

    __slots__ = ()

    @abstractmethod
    def states(self) -> Tensor:
        """Return the values of one latent variable, ``(C, size / latent_dim)``."""

    @abstractmethod
    def drawn(self, noise: Tensor, draw: "Callable[[DiscreteDistribution, Tensor], Tensor]") -> Tensor:
        """Return latents ``(..., B, size)`` drawn layer by layer.

        Arguments:
            noise: ``(..., B, noise_size)`` from N(0, I).
            draw: how a layer's latents are drawn from its distribution and its noise.
        """

    @abstractmethod
    def layers(self, z: Tensor, noise: Tensor) -> "list[Layer]":
        """Return the stochastic layers of S latents.

        Arguments:
            z: the latents, ``(S, ..., B, size)``.
            noise: the noise that led to them, ``(S, ..., B, noise_size)``.
        """

    def rsample(self, noise: Tensor) -> Tensor:
        return self.drawn(noise, DiscreteDistribution.hard)


class DiscreteDistribution(DiscreteLatents):
    r"""Discrete variables with logits, drawn by perturbing their logits with noise and rounding.

    .. math:: z = \operatorname{harden}(\zeta), \qquad \zeta = a + g(\varepsilon)

    The perturbed logits are differentiable in the logits, and samples are not. Estimators may relax them, or
    condition them on the samples to which they round.

    Attributes:
        logits: a, ``(..., B, latent_dim)`` or ``(..., B, latent_dim, categories)``.
    """

    __slots__ = ()

    logits: Tensor

    @abstractmethod
    def perturbed(self, noise: Tensor) -> Tensor:
        """Return the perturbed logits, in the shape of the logits.

        Arguments:
            noise: ``(..., B, noise_size)`` from N(0, I).
        """

    @abstractmethod
    def conditional(self, perturbed: Tensor) -> Tensor:
        """Return perturbed logits as draws under the condition that they round as they do.

        Their values stay. The gradient is that of a draw from this conditional distribution, by inversion of the noise
        that leads to the same value.

        Arguments:
            perturbed: perturbed logits, without a gradient.

        References:
            REBAR: Low-variance, unbiased gradient estimates for discrete latent variable models, Tucker et al., 2017,
            section 3 and appendix B (https://arxiv.org/abs/1703.07370). Backpropagation through the Void, Grathwohl et
            al., 2018, appendix B (https://arxiv.org/abs/1711.00123).
        """

    @abstractmethod
    def harden(self, perturbed: Tensor) -> Tensor:
        """Return the samples to which perturbed logits round, ``(..., B, size)``."""

    @abstractmethod
    def relax(self, perturbed: Tensor, temperature: float | Tensor) -> Tensor:
        """Return the Concrete relaxation of samples, ``(..., B, size)``, differentiable in the perturbed logits."""

    def flat(self, perturbed: Tensor) -> Tensor:
        """Return perturbed logits in the shape of samples, ``(..., B, size)``."""
        return perturbed if self.event_dims is None else perturbed.flatten(-2)

    @abstractmethod
    def log_probs(self) -> Tensor:
        """Return the logarithm of the probability of each value, ``(C, ..., B, latent_dim)``."""

    def hard(self, noise: Tensor) -> Tensor:
        """Return samples without a gradient, ``(..., B, size)``."""
        return self.harden(self.perturbed(noise)).detach()

    def drawn(self, noise: Tensor, draw: "Callable[[DiscreteDistribution, Tensor], Tensor]") -> Tensor:
        return draw(self, noise)

    def layers(self, z: Tensor, noise: Tensor) -> "list[Layer]":
        return [Layer(self, z, slice(None), lambda other, smooth: other)]


class Layer(NamedTuple):
    """The latents of one stochastic layer, given those of the layers before it.

    Attributes:
        distribution: that of the layer, whose logits may have the dimension S.
        z: its latents, ``(S, ..., B, size)``.
        columns: those of the layer in the noise.
        complete: a function of other latents of the layer, and of a flag. It returns the latents of all layers: those
            before it are unchanged, and those after it follow from the other latents, drawn with the same noise or, if
            the flag is set, as the means, which are differentiable. There may be any number of other latents if there
            is one row of noise.
    """

    distribution: DiscreteDistribution
    z: Tensor
    columns: slice
    complete: Callable[[Tensor, bool], Tensor]
