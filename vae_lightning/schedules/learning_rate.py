"""Apply a schedule to the learning rate."""

from collections.abc import Iterable

from torch.optim import Optimizer

__all__ = ["scale_lr"]


def scale_lr(optimizers: Iterable[Optimizer], factor: float) -> None:
    """Set each optimiser's learning rate to its initial value times a factor."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = factor * optimizer.defaults["lr"]
