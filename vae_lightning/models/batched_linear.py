"""Linear layers of several models as one batched matrix product."""

from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["replace_linear"]


class _BatchedLinear(torch.autograd.Function):
    """x W' + b for K layers at once.

    If W and b already have gradients, these are overwritten, so that a step needs no other memory for them. By itself,
    autograd would return the gradient of W transposed, copy all of it, and add the copy to zeros.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight, bias)
        return torch.baddbmm(bias[:, None], x, weight.mT)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        (gradient,), (x, weight, bias) = gradients, ctx.saved_tensors
        x_gradient = torch.bmm(gradient, weight) if ctx.needs_input_grad[0] else None
        if weight.grad is None:
            return x_gradient, torch.bmm(gradient.mT, x), gradient.sum(1)
        torch.bmm(gradient.mT, x, out=weight.grad)
        torch.sum(gradient, 1, out=bias.grad)
        return x_gradient, None, None


class _Linear(nn.Module):
    """The linear layers of K models as one: ``(..., K, B, in)``, or ``(..., 1, B, in)``, to ``(..., K, B, out)``."""

    def __init__(self, layer: nn.Linear, count: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(layer.weight.new_zeros(count, *layer.weight.shape))
        self.bias = nn.Parameter(layer.weight.new_zeros(count, layer.out_features))

    def forward(self, x: Tensor) -> Tensor:
        count, *before = len(self.weight), *x.shape[:-3]
        # Dimensions in front of the models are moved between the models and their rows, and back afterwards.
        x = x.expand(*before, count, *x.shape[-2:])
        rows = x.movedim(-3, 0).flatten(1, -2)
        if torch.is_autocast_enabled(x.device.type):  # autocast handles only torch's own functions
            product = torch.baddbmm(self.bias[:, None], rows, self.weight.mT)
        else:
            product = _BatchedLinear.apply(rows, self.weight, self.bias)
        restored: Tensor = product.unflatten(1, (*before, x.shape[-2])).movedim(0, -3)
        return restored


def replace_linear(module: nn.Module, count: int) -> None:
    """Replace each linear layer in a module by ``count`` layers in a batch, with all weights zero."""
    for name, child in module.named_children():
        if isinstance(child, nn.Linear):
            setattr(module, name, _Linear(child, count))
        else:
            replace_linear(child, count)
