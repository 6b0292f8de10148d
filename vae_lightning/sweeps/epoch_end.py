"""What happens to a stack at the end of an epoch."""

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["EpochEnd"]


class EpochEnd:
    """The decisions at the end of a stack's epochs: which runs are pruned, and whether the others go on.

    These are the decisions of a sweep without pruning: no run is, and all go on.
    """

    def pruned(self, epoch: int, metrics: Sequence[Mapping[str, Any]]) -> set[int]:
        """Return the places of the runs that are pruned.

        Arguments:
            epoch: the number of epochs that have ended.
            metrics: each run's metrics of the last epoch, none if the run has left the stack.
        """
        return set()

    def goes_on(self, epoch: int, models: int) -> bool:
        """Return whether the stack trains on; otherwise its runs go on later, perhaps with others.

        Arguments:
            epoch: the number of epochs that have ended.
            models: the number of models that are left.
        """
        return True
