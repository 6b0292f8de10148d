"""Divergence: losses or weights that are not finite."""

from torch import Tensor

__all__ = ["divergence"]


def divergence(loss: Tensor, norm: Tensor, epoch: int, step: int, lr: float) -> str:
    """Return the error message for a model whose loss or weight norm is not finite; epochs are counted from 0."""
    return (
        f"the loss is {loss.item()} and the weights' norm {norm.item()} in epoch {epoch + 1}, by step {step}, "
        f"with optimizer.lr={lr}"
    )
