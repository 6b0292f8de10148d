"""Flows made of layers x + U tanh(W x + b), with W U triangular."""

from typing import NamedTuple

import torch
from torch import Tensor

from vae_lightning.posteriors.flow import FlowDistribution

__all__ = ["TanhFlowDistribution", "tanh_root"]

# Newton's method needs about ten steps for slopes up to 1e4, and a few more for each further power of ten.
STEPS = 20


class _Parameters(NamedTuple):
    mu: Tensor
    logvar: Tensor
    u: Tensor
    w: Tensor
    bias: Tensor
    product: Tensor


class TanhFlowDistribution(_Parameters, FlowDistribution):
    r"""A Gaussian variable after layers that change it in a subspace of ``rank`` dimensions each.

    .. math:: f(x) = x + U \tanh(W x + b), \qquad \det f'(x) = \prod_i 1 + (1 - \tanh^2(W x + b)_i) \, (W U)_{ii}

    Attributes:
        mu: translation after the layers, ``(..., B, latent_dim)``.
        logvar: twice the logarithm of the scale after the layers, of the same shape.
        u: the columns of U, layer by layer, ``(..., B, layers * rank * latent_dim)``.
        w: the rows of W, of the same shape.
        bias: b, ``(..., B, layers * rank)``.
        product: the rows of W U, ``(..., B, layers * rank * rank)``. The matrix is upper triangular, and its diagonal
            is greater than -1, so that the layer is invertible.
    """

    __slots__ = ()

    def _layers(self) -> list[tuple[Tensor, ...]]:
        """Return U and W, ``(..., B, rank, latent_dim)``, b, and W U of each layer."""
        size = self.mu.shape[-1]
        rank = self.product.shape[-1] // self.bias.shape[-1]
        tensors = (
            self.u.unflatten(-1, (-1, rank, size)).unbind(-3),
            self.w.unflatten(-1, (-1, rank, size)).unbind(-3),
            self.bias.unflatten(-1, (-1, rank)).unbind(-2),
            self.product.unflatten(-1, (-1, rank, rank)).unbind(-3),
        )
        return list(zip(*tensors, strict=True))

    def flow(self, x: Tensor) -> tuple[Tensor, Tensor]:
        slopes = []
        for u, w, bias, product in self._layers():
            t = torch.tanh((w * x[..., None, :]).sum(-1) + bias)
            x = x + (u * t[..., None]).sum(-2)
            slopes.append(_slopes(t, product))
        return x, torch.cat(slopes, -1).log().sum(-1, keepdim=True)

    def inverse(self, y: Tensor) -> tuple[Tensor, Tensor]:
        slopes = []
        for u, w, bias, product in reversed(self._layers()):
            # With s = W x + b, W y + b = s + W U tanh(s): one equation after another, from the last.
            r = ((w * y[..., None, :]).sum(-1) + bias).unbind(-1)
            t: list[Tensor] = []
            for i in reversed(range(len(r))):
                others = sum((product[..., i, i + 1 + j] * later for j, later in enumerate(t)), torch.zeros_like(r[i]))
                t.insert(0, torch.tanh(tanh_root(r[i] - others, product[..., i, i])))
            tanhs = torch.stack(t, -1)
            y = y - (u * tanhs[..., None]).sum(-2)
            slopes.append(_slopes(tanhs, product))
        return y, torch.cat(slopes, -1).log().sum(-1, keepdim=True)


def _slopes(t: Tensor, product: Tensor) -> Tensor:
    """Return the factors of a layer's determinant, ``(..., B, rank)``, where t is tanh(W x + b)."""
    return 1 + (1 - t.square()) * product.diagonal(dim1=-2, dim2=-1)


def tanh_root(r: Tensor, kappa: Tensor) -> Tensor:
    """Return the s with s + kappa tanh(s) = r, differentiable in both arguments.

    Arguments:
        r: the right-hand side, of any shape.
        kappa: greater than -1; it broadcasts with r.
    """
    with torch.no_grad():
        # By symmetry s >= 0. The left-hand side is then concave if kappa >= 0, and convex otherwise. From a start on
        # the side where its tangents do not pass the root, Newton's method converges monotonically, without safeguards.
        target = r.abs()
        bounds = target / (1 + kappa), target - kappa
        s = torch.where(kappa >= 0, torch.maximum(*bounds), torch.minimum(*bounds))
        for _ in range(STEPS):
            t = s.tanh()
            s = s - (s + kappa * t - target) / (1 + kappa * (1 - t * t))
        s = s * r.sign()
        t = s.tanh()
        slope = 1 + kappa * (1 - t * t)
    # One more Newton step, whose gradient is that of the implicit function.
    return s - (s + kappa * t - r) / slope
