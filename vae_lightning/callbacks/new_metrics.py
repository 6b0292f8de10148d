"""The metrics that have been logged since a moment, such as an epoch's start."""

from collections.abc import Mapping

from torch import Tensor

__all__ = ["new_metrics"]


def new_metrics(metrics: Mapping[str, Tensor], earlier: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the metrics that have been logged since; Lightning keeps those of earlier epochs, as the same tensors.

    Arguments:
        metrics: the Trainer's ``callback_metrics``.
        earlier: what they were, as a dict of its own.
    """
    return {name: value for name, value in metrics.items() if value is not earlier.get(name)}
