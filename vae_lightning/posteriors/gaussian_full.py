"""Gaussian posteriors with correlated dimensions."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import LowRankMultivariateNormal

from vae_lightning.config.arguments import checked
from vae_lightning.posteriors.distribution import Distribution
from vae_lightning.posteriors.gaussian import LOG_2_PI, RealPosterior, StandardNormal
from vae_lightning.posteriors.torch_distribution import TorchDistribution
from vae_lightning.precision import at_least_single

__all__ = ["GaussianFull", "GaussianFullDistribution", "GaussianLowRankDistribution"]


class _Full(NamedTuple):
    mu: Tensor
    scale_tril: Tensor


class GaussianFullDistribution(_Full, Distribution):
    """N(mu, L L').

    Attributes:
        mu: means, ``(..., B, latent_dim)``.
        scale_tril: L, lower triangular with a positive diagonal, ``(..., B, latent_dim, latent_dim)``.
    """

    __slots__ = ()

    event_dims = (1, 2)

    @property
    def mean(self) -> Tensor:
        return self.mu

    @property
    def _half_log_determinant(self) -> Tensor:
        return self.scale_tril.diagonal(dim1=-2, dim2=-1).log().sum(-1, keepdim=True)

    def rsample(self, noise: Tensor) -> Tensor:
        z: Tensor = self.mu + (self.scale_tril @ noise.unsqueeze(-1)).squeeze(-1)
        return z

    def log_prob(self, z: Tensor) -> Tensor:
        factor, difference = at_least_single(self.scale_tril), at_least_single(z - self.mu).unsqueeze(-1)
        noise: Tensor = torch.linalg.solve_triangular(factor, difference, upper=False).squeeze(-1).to(z)
        return -0.5 * (noise.square() + LOG_2_PI).sum(-1, keepdim=True) - self._half_log_determinant

    def rsample_and_log_prob(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        log_prob = -0.5 * (noise.square() + LOG_2_PI).sum(-1, keepdim=True) - self._half_log_determinant
        return self.rsample(noise), log_prob

    def kl(self, other: Distribution) -> Tensor | None:
        if not isinstance(other, StandardNormal):
            return None
        trace = self.scale_tril.square().sum((-2, -1)).unsqueeze(-1)
        return 0.5 * (trace + (self.mu.square() - 1).sum(-1, keepdim=True)) - self._half_log_determinant


class _LowRank(NamedTuple):
    mu: Tensor
    logvar: Tensor
    factor: Tensor


class GaussianLowRankDistribution(_LowRank, TorchDistribution):
    """N(mu, diag(exp(logvar)) + U U').

    Attributes:
        mu: means, ``(..., B, latent_dim)``.
        logvar: logarithms of the independent variances, of the same shape.
        factor: U, ``(..., B, latent_dim, rank)``.
    """

    __slots__ = ()

    event_dims = (1, 1, 2)

    @property
    def noise_size(self) -> int:
        return self.mu.shape[-1] + self.factor.shape[-1]

    @property
    def mean(self) -> Tensor:
        return self.mu

    @property
    def formulas(self) -> LowRankMultivariateNormal:
        return LowRankMultivariateNormal(self.mu, self.factor, self.logvar.exp(), validate_args=False)

    def rsample(self, noise: Tensor) -> Tensor:
        own, shared = noise.split([self.mu.shape[-1], self.factor.shape[-1]], -1)
        z: Tensor = self.mu + torch.exp(0.5 * self.logvar) * own + (self.factor @ shared.unsqueeze(-1)).squeeze(-1)
        return z

    def kl(self, other: Distribution) -> Tensor | None:
        if not isinstance(other, StandardNormal):
            return None
        # The cross-entropy to N(0, I) minus the entropy.
        second_moment = self.mu.square() + self.logvar.exp() + self.factor.square().sum(-1)
        kl: Tensor = 0.5 * (second_moment + LOG_2_PI).sum(-1) - self.formulas.entropy()
        return kl.unsqueeze(-1)


class GaussianFull(RealPosterior):
    """A Gaussian with a covariance matrix for each image.

    The encoder's output holds the means, the logarithms of the diagonal, and the remaining elements of the factor: the
    lower triangle of L, or U by rows.

    Arguments:
        latent_dim: number of latent variables.
        rank: None for N(mu, L L') with a triangular L, i.e. any covariance; otherwise the number of columns of U in
            N(mu, diag(exp(logvar)) + U U').

    Raises:
        InputError: if ``rank`` breaks its rule (:mod:`vae_lightning.posteriors.rules`).

    References:
        Stochastic Backpropagation and Approximate Inference in Deep Generative Models, Rezende, Mohamed and Wierstra,
        2014, section 4.3 (https://arxiv.org/abs/1401.4082): structured covariances.
    """

    any_batch = True

    @checked
    def __init__(self, latent_dim: int, rank: int | None = None) -> None:
        super().__init__(latent_dim)
        self.rank = rank

    @property
    def outputs(self) -> int:
        off_diagonal = (
            self.latent_dim * (self.latent_dim - 1) // 2 if self.rank is None else self.latent_dim * self.rank
        )
        return 2 * self.latent_dim + off_diagonal

    @property
    def noise_size(self) -> int:
        return self.latent_dim + (self.rank or 0)

    def forward(self, encoded: Tensor) -> GaussianFullDistribution | GaussianLowRankDistribution:
        mu, diagonal, rest = encoded.tensor_split((self.latent_dim, 2 * self.latent_dim), dim=-1)
        if self.rank is not None:
            return GaussianLowRankDistribution(mu, diagonal, rest.unflatten(-1, (self.latent_dim, self.rank)))
        # Row i of L takes i elements; a gather works under vmap, where assignments by index do not.
        row, column = torch.meshgrid(*[torch.arange(self.latent_dim, device=encoded.device)] * 2, indexing="ij")
        place = (row * (row - 1) // 2 + column).clamp(0, max(0, rest.shape[-1] - 1))
        lower = (rest[..., place] if self.latent_dim > 1 else diagonal.unsqueeze(-1)).tril(-1)
        return GaussianFullDistribution(mu, lower + torch.diag_embed(torch.exp(0.5 * diagonal)))
