"""The Sylvester flow."""

import torch
from torch import Tensor
from torch.nn import functional as F

from vae_lightning.config.arguments import checked
from vae_lightning.posteriors.gaussian import RealPosterior
from vae_lightning.posteriors.tanh_flow import TanhFlowDistribution

__all__ = ["Sylvester", "SylvesterDistribution"]

# The largest absolute value of a diagonal element of R1 or R2: 1 plus the product of two is at least 0.1.
LARGEST = 0.9**0.5


class SylvesterDistribution(TanhFlowDistribution):
    """A Gaussian variable after layers with U = Q R1 and W = R2 Q^T: Q^T Q = I, and R1 and R2 are upper triangular."""

    __slots__ = ()


class Sylvester(RealPosterior):
    r"""Sylvester flows with parameters from the encoder.

    .. math:: f(x) = x + Q R_1 \tanh(R_2 Q^\top x + b)

    Q holds the first ``rank`` columns of a product of ``rank`` Householder reflections: they are orthonormal for any
    output of the encoder, and every set of orthonormal columns is within reach. The paper has either square matrices
    made of such reflections, or ``rank`` columns made orthonormal by an iterative procedure.

    The encoder's output holds mu and logvar, and of all layers the normals of the reflections, a matrix with R1 in its
    upper triangle and the transpose of R2 below its diagonal, the diagonal of R2, and b.

    Arguments:
        latent_dim: number of latent variables.
        layers: number of layers.
        rank: number of dimensions that a layer changes; at most ``latent_dim`` are used.

    Raises:
        InputError: if an argument breaks its rule (:mod:`vae_lightning.posteriors.rules`).

    References:
        Sylvester Normalizing Flows for Variational Inference, van den Berg et al., 2018
        (https://arxiv.org/abs/1803.05649), section 4.
    """

    any_batch = True

    @checked
    def __init__(self, latent_dim: int, layers: int = 2, rank: int = 4) -> None:
        super().__init__(latent_dim)
        self.layers, self.rank = layers, min(rank, latent_dim)

    @property
    def outputs(self) -> int:
        return 2 * self.latent_dim + self.layers * self.rank * (self.latent_dim + self.rank + 2)

    def forward(self, encoded: Tensor) -> SylvesterDistribution:
        size, rank, count = self.latent_dim, self.rank, self.layers * self.rank
        mu, logvar, normals, matrices, diagonals, bias = encoded.split(
            [size, size, count * size, count * rank, count, count], dim=-1
        )
        normals = F.normalize(normals.unflatten(-1, (self.layers, rank, size)), dim=-1)
        columns = torch.eye(rank, size, dtype=encoded.dtype, device=encoded.device)  # Q^T
        for normal in normals.unbind(-2):
            normal = normal[..., None, :]
            columns = columns - (2 * columns * normal).sum(-1, keepdim=True) * normal
        matrices = matrices.unflatten(-1, (self.layers, rank, rank))
        diagonal1 = LARGEST * matrices.diagonal(dim1=-2, dim2=-1).tanh()
        diagonal2 = LARGEST * diagonals.unflatten(-1, (self.layers, rank)).tanh()
        r1 = matrices.triu(1) + diagonal1.diag_embed()
        r2 = matrices.tril(-1).mT + diagonal2.diag_embed()
        u, w, product = r1.mT @ columns, r2 @ columns, r2 @ r1
        return SylvesterDistribution(mu, logvar, u.flatten(-3), w.flatten(-3), bias, product.flatten(-3))
