"""The Dirichlet posterior."""

from typing import NamedTuple

import torch
from torch import Tensor, distributions

from vae_lightning.posteriors.gamma_quantile import concentrations, log_gamma_quantile
from vae_lightning.posteriors.posterior import Posterior
from vae_lightning.posteriors.torch_distribution import TorchDistribution

__all__ = ["Dirichlet", "DirichletDistribution"]


class _Parameters(NamedTuple):
    concentration: Tensor


class DirichletDistribution(_Parameters, TorchDistribution):
    r"""A Dirichlet distribution of shares, which are positive and sum to 1.

    .. math:: q(z) = \frac{\Gamma(\sum_i a_i)}{\prod_i \Gamma(a_i)} \prod_i z_i^{a_i - 1}

    The density is that of all components but one.

    Attributes:
        concentration: a, ``(..., B, latent_dim)``.
    """

    __slots__ = ()

    @property
    def mean(self) -> Tensor:
        return self.concentration / self.concentration.sum(-1, keepdim=True)

    def rsample(self, noise: Tensor) -> Tensor:
        # The shares of independent g_i ~ Gamma(a_i) in their sum.
        z = torch.softmax(log_gamma_quantile(self.concentration, noise), dim=-1)
        return z.clamp(min=torch.finfo(z.dtype).tiny)

    @property
    def formulas(self) -> distributions.Dirichlet:
        return distributions.Dirichlet(self.concentration, validate_args=False)


class Dirichlet(Posterior):
    """A Dirichlet distribution of shares; the standard distribution is the uniform Dirichlet(1, ..., 1).

    The encoder's output holds the numbers of the concentrations.

    References:
        Implicit Reparameterization Gradients, Figurnov, Mohamed and Mnih, 2018 (https://arxiv.org/abs/1805.08498).
    """

    support = "the simplex"
    any_batch = True
    parts = 1

    def forward(self, encoded: Tensor) -> DirichletDistribution:
        return DirichletDistribution(concentrations(encoded))

    def standard(self, like: Tensor) -> DirichletDistribution:
        return DirichletDistribution(like.new_ones(1, self.latent_dim))

    def moved(self, mean: Tensor, dimension: int, values: Tensor) -> Tensor:
        """Return latents with one component set to other values; the others keep their ratios, and the sum is 1."""
        z = mean * ((1 - values) / (1 - mean[dimension]))[:, None]
        z[:, dimension] = values
        return z
