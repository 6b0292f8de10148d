"""Linear layers of several models as one batched matrix product."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["BatchedLinear", "overwriting_gradients", "replace_linear"]


class _Product(torch.autograd.Function):
    """x W' + b for K layers at once; see :func:`overwriting_gradients`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, layer: "BatchedLinear") -> Tensor:
        ctx.layer = layer
        ctx.save_for_backward(x, weight, bias)
        return torch.baddbmm(bias[:, None], x, weight.mT)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None]:
        (gradient,), (x, weight, bias) = gradients, ctx.saved_tensors
        x_gradient = torch.bmm(gradient, weight) if ctx.needs_input_grad[0] else None
        if not ctx.layer.overwrites:
            return x_gradient, torch.bmm(gradient.mT, x), gradient.sum(1), None
        torch.bmm(gradient.mT, x, out=weight.grad)
        torch.sum(gradient, 1, out=bias.grad)
        ctx.layer.overwrites = False
        return x_gradient, None, None, None


class BatchedLinear(nn.Module):
    """The linear layers of K models as one: ``(..., K, B, in)``, or ``(..., 1, B, in)``, to ``(..., K, B, out)``.

    Attributes:
        overwrites: whether the next backward pass overwrites the gradients instead of adding to them.
    """

    overwrites = False

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
            product = _Product.apply(rows, self.weight, self.bias, self)
        restored: Tensor = product.unflatten(1, (*before, x.shape[-2])).movedim(0, -3)
        return restored


def replace_linear(module: nn.Module, count: int) -> None:
    """Replace each linear layer in a module by ``count`` layers in a batch, with all weights zero."""
    for name, child in module.named_children():
        if isinstance(child, nn.Linear):
            setattr(module, name, BatchedLinear(child, count))
        else:
            replace_linear(child, count)


@contextmanager
def overwriting_gradients(layers: Sequence[BatchedLinear]) -> Iterator[None]:
    """Let the backward pass inside the ``with`` block write the gradients anew, where the optimiser reads them.

    By itself, autograd would return the gradient of a weight transposed, copy all of it, and add the copy to zeros. If
    a layer is used several times, later gradients are added to the first.

    Arguments:
        layers: layers whose weights have gradients already.
    """
    for layer in layers:
        layer.overwrites = True
    yield
    for layer in layers:
        if layer.overwrites:  # it was not used
            layer.overwrites = False
            for weight in layer.parameters():
                if weight.grad is not None:
                    weight.grad.zero_()
