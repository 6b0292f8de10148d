"""Mixtures of distributions, and the mixture of Gaussians as a posterior."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, Self

import torch
from torch import Tensor

from vae_lightning.config.arguments import checked
from vae_lightning.posteriors.distribution import Distribution
from vae_lightning.posteriors.gaussian import GaussianDistribution, RealPosterior

__all__ = ["MixtureDistribution", "MixtureOfGaussians", "MixtureOfGaussiansDistribution"]


class _Parameters(NamedTuple):
    logits: Tensor
    components: Distribution


class MixtureDistribution(_Parameters, Distribution):
    """A mixture of K distributions of the same family.

    Samples are not differentiable in the weights.

    Attributes:
        logits: logarithms of the components' weights up to a constant, ``(..., B, K)``.
        components: their parameters, ``(..., B, K, n)``.
    """

    __slots__ = ()

    @property
    def noise_size(self) -> int:
        return 1 + self.components.noise_size

    @property
    def mean(self) -> Tensor:
        return (self.logits.softmax(-1).unsqueeze(-1) * self.components.mean).sum(-2)

    def rsample(self, noise: Tensor) -> Tensor:
        """Return latents of components that the first column of the noise selects; the others serve the component."""
        z = self.components.rsample(noise[..., None, 1:])
        bounds = self.logits.softmax(-1).cumsum(-1)[..., :-1]
        chosen = (torch.special.ndtr(noise[..., :1]) > bounds).sum(-1)
        index = chosen[..., None, None].expand(*z.shape[:-2], 1, z.shape[-1])
        return z.gather(-2, index).squeeze(-2)

    def log_prob(self, z: Tensor) -> Tensor:
        each = self.components.log_prob(z.unsqueeze(-2)).sum(-1)
        return (self.logits.log_softmax(-1) + each).logsumexp(-1, keepdim=True)

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        return type(self)(function(self.logits), self.components.map(function))

    def as_components(self, extra: int = 0) -> Self:
        return type(self)(self.logits.unsqueeze(-3 - extra), self.components.as_components(extra + 1))

    @classmethod
    def concatenated(cls, parts: Sequence[Self]) -> Self:
        logits, components = zip(*parts, strict=True)
        # The components are two-dimensional: one more dimension lies behind that of the images.
        merged = [torch.cat(terms, -3) for terms in zip(*components, strict=True)]
        return cls(torch.cat(logits, -2), type(components[0])(*merged))

    def named(self) -> dict[str, Tensor]:
        return {"mean": self.mean, "logits": self.logits, **self.components.named()}


class MixtureOfGaussiansDistribution(MixtureDistribution):
    """A mixture of Gaussians with diagonal covariances, with samples that are differentiable in the weights too."""

    __slots__ = ()

    def rsample(self, noise: Tensor) -> Tensor:
        r"""Return latents with implicit derivatives of their conditional distribution functions, one after another.

        A sample jumps when the noise selects another component, so that its own derivative misses what the weights do.
        The functions F(z_d | z_1, ..., z_{d-1}) transform the latents to uniform variables and are smooth in all
        parameters; with F constant,

        .. math:: \mathrm{d}z_d = -\frac{\mathrm{d}F(z_d | z_{<d})}{q(z_d | z_{<d})}.
        """
        with torch.no_grad():
            sample = super().rsample(noise)
        parameters = self.components
        assert isinstance(parameters, GaussianDistribution)
        inverse_scale = torch.exp(-0.5 * parameters.logvar)
        log_weights = self.logits.log_softmax(-1)
        z = []
        for dimension in range(sample.shape[-1]):
            fixed = sample[..., dimension, None]
            mu, scaling = parameters.mu[..., dimension], inverse_scale[..., dimension]
            weights = log_weights.softmax(-1)
            cumulative = (weights * torch.special.ndtr((fixed - mu) * scaling)).sum(-1)
            log_densities = GaussianDistribution(mu, parameters.logvar[..., dimension]).log_prob(fixed)
            density = (weights * log_densities.exp()).sum(-1).detach()
            moved = sample[..., dimension] - (cumulative - cumulative.detach()) / density
            z.append(moved)
            conditional = GaussianDistribution(mu, parameters.logvar[..., dimension])
            log_weights = log_weights + conditional.log_prob(moved.unsqueeze(-1))
        return torch.stack(z, -1)


class MixtureOfGaussians(RealPosterior):
    r"""A mixture of Gaussians for each image: several explanations of it.

    .. math:: q(z|x) = \sum_k \pi_k(x) \, \mathcal{N}(z; m_k(x), \operatorname{diag}(s_k(x)^2))

    The encoder's output holds the logits of the weights, the means of all components, and the logarithms of their
    variances.

    Arguments:
        latent_dim: number of latent variables.
        components: number of components.

    Raises:
        InputError: if ``components`` breaks its rule (:mod:`vae_lightning.posteriors.rules`).

    References:
        Stochastic Backpropagation through Mixture Density Distributions, Graves, 2016
        (https://arxiv.org/abs/1607.05690). Implicit Reparameterization Gradients, Figurnov, Mohamed and Mnih, 2018
        (https://arxiv.org/abs/1805.08498), section 3: the multivariate distributional transform.
    """

    any_batch = True

    @checked
    def __init__(self, latent_dim: int, components: int = 3) -> None:
        super().__init__(latent_dim)
        self.components = components

    @property
    def outputs(self) -> int:
        return self.components * (1 + 2 * self.latent_dim)

    @property
    def noise_size(self) -> int:
        return 1 + self.latent_dim

    def forward(self, encoded: Tensor) -> MixtureOfGaussiansDistribution:
        logits, parameters = encoded[..., : self.components], encoded[..., self.components :]
        mu, logvar = parameters.unflatten(-1, (2, self.components, self.latent_dim)).unbind(-3)
        return MixtureOfGaussiansDistribution(logits, GaussianDistribution(mu, logvar))
