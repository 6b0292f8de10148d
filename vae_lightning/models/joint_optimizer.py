"""The optimisers of a stack as one."""

from collections.abc import Callable, Mapping, Sequence
from itertools import compress
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

__all__ = ["JointOptimizer"]


class JointOptimizer(Optimizer):
    """An optimiser of all models of a stack, which steps one optimiser for each group of models.

    Arguments:
        weights: the weights of the models, each ``(K, ...)``.
        groups: the indices of the models of each group.
        build: makes the optimiser of a group from its index and its models' weights, which are views of ``weights``.
    """

    def __init__(
        self,
        weights: Sequence[nn.Parameter],
        groups: Sequence[slice],
        build: Callable[[int, list[nn.Parameter]], Optimizer],
    ) -> None:
        self.weights, self.groups = list(weights), list(groups)
        self.each = [
            build(place, [nn.Parameter(weight.detach()[own]) for weight in weights])
            for place, own in enumerate(self.groups)
        ]
        super().__init__([parameter for one in self.each for parameter in _parameters(one)], {})
        self._share_groups()

    def _share_groups(self) -> None:
        # The same objects, so that a schedule sets the learning rates of each optimiser.
        self.param_groups = [group for one in self.each for group in one.param_groups]

    def keep(self, kept: Sequence[Sequence[int]], groups: Sequence[slice]) -> None:
        """Keep some of the models, whose rows are all that is left in the weights.

        Arguments:
            kept: for each group, the models that stay, counted within the group.
            groups: the new indices of the models of each group of which some stay.
        """
        self.each, self.groups = [*compress(self.each, kept)], list(groups)
        for one, own, rows in zip(self.each, self.groups, filter(None, kept), strict=True):
            local = torch.tensor(rows)  # on the CPU, where it selects from tensors on any device
            parameters = _parameters(one)
            one.param_groups[0]["params"] = [nn.Parameter(weight.detach()[own]) for weight in self.weights]
            for old, new in zip(parameters, _parameters(one), strict=True):
                # A tensor of the weights' shape has a row for each model; anything else, like Adam's step, is shared.
                state = {
                    key: value[local] if isinstance(value, Tensor) and value.shape == old.shape else value
                    for key, value in one.state.pop(old, {}).items()
                }
                if state:
                    one.state[new] = state
        self._share_groups()

    def zero_grad(self, set_to_none: bool = True) -> None:
        for weight in self.weights:
            weight.grad = None

    def step(self, closure: Any = None) -> Any:
        loss = None if closure is None else closure()
        for one, own in zip(self.each, self.groups, strict=True):
            for rows, weight in zip(_parameters(one), self.weights, strict=True):
                rows.grad = None if weight.grad is None else weight.grad[own]
            one.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        return {"each": [one.state_dict() for one in self.each]}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        for one, state in zip(self.each, state_dict["each"], strict=True):
            one.load_state_dict(state)
        self._share_groups()


def _parameters(optimizer: Optimizer) -> list[nn.Parameter]:
    (group,) = optimizer.param_groups
    parameters: list[nn.Parameter] = group["params"]
    return parameters
