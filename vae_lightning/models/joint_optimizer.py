"""The optimisers of a stack as one."""

from collections.abc import Mapping, Sequence
from itertools import compress
from typing import Any

from torch.optim import Optimizer

__all__ = ["JointOptimizer"]


class JointOptimizer(Optimizer):
    """An optimiser that steps several optimisers at once.

    Arguments:
        each: the optimisers, one for each group of models with the same optimiser arguments.
    """

    def __init__(self, each: Sequence[Optimizer]) -> None:
        self.each = each
        super().__init__([parameter for one in each for group in one.param_groups for parameter in group["params"]], {})
        self._share_groups()

    def _share_groups(self) -> None:
        # The same objects, so that a schedule sets the learning rates of each optimiser.
        self.param_groups = [group for one in self.each for group in one.param_groups]

    def keep(self, stays: Sequence[bool]) -> None:
        """Keep some of the optimisers.

        Arguments:
            stays: whether each of them stays.
        """
        self.each = [*compress(self.each, stays)]
        self._share_groups()

    def step(self, closure: Any = None) -> Any:
        loss = None if closure is None else closure()
        for one in self.each:
            one.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        return {"each": [one.state_dict() for one in self.each]}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        for one, state in zip(self.each, state_dict["each"], strict=True):
            one.load_state_dict(state)
        self._share_groups()
