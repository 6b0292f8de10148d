"""Linear layers of several models as one batched matrix product."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["BatchedLinear", "replace_linear"]


class _Product(torch.autograd.Function):
    """x W' + b for K layers at once.

    The gradient of the weights is stored in their own order. That of ``torch.baddbmm`` would be transposed, and copied.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return torch.baddbmm(bias[:, None], x, weight.mT)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        (gradient,), (x, weight) = gradients, ctx.saved_tensors
        x_gradient = torch.bmm(gradient, weight) if ctx.needs_input_grad[0] else None
        return x_gradient, torch.bmm(gradient.mT, x), gradient.sum(1)


class BatchedLinear(nn.Module):
    """The linear layers of K models as one: ``(..., K, B, in)``, or ``(..., 1, B, in)``, to ``(..., K, B, out)``."""

    def __init__(self, layer: nn.Linear, count: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(layer.weight.new_zeros(count, *layer.weight.shape))
        self.bias = nn.Parameter(layer.weight.new_zeros(count, layer.out_features))

    def forward(self, x: Tensor) -> Tensor:
        count, *before = len(self.weight), *x.shape[:-3]
        if x.shape[-3] == 1:  # one wide product, because a batched one would copy the rows for each model
            wide: Tensor = F.linear(x.squeeze(-3), self.weight.flatten(0, 1), self.bias.flatten())
            each: Tensor = wide.unflatten(-1, (count, -1)).movedim(-2, -3)
            return each
        # Dimensions in front of the models are moved between the models and their rows, and back afterwards.
        rows = x.movedim(-3, 0).flatten(1, -2)
        if torch.is_autocast_enabled(x.device.type):  # autocast handles only torch's own functions
            product = torch.baddbmm(self.bias[:, None], rows, self.weight.mT)
        else:
            product = _Product.apply(rows, self.weight, self.bias)
        restored: Tensor = product.unflatten(1, (*before, x.shape[-2])).movedim(0, -3)
        return restored


def replace_linear(module: nn.Module, count: int) -> None:
    """Replace each linear layer in a module by ``count`` layers in a batch, with all weights zero."""
    for name, child in module.named_children():
        if isinstance(child, nn.Linear):
            setattr(module, name, BatchedLinear(child, count))
        else:
            replace_linear(child, count)
