"""Several optimisers as one: those of a model's parts, or of a stack's models."""

from collections.abc import Callable, Mapping, Sequence
from itertools import compress
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

__all__ = ["JointOptimizer", "StackOptimizer"]


class JointOptimizer(Optimizer):
    """Several optimisers that step together.

    Arguments:
        each: the optimisers, of one parameter group each.
    """

    def __init__(self, each: Sequence[Optimizer]) -> None:
        self.each = list(each)
        super().__init__([parameter for one in self.each for parameter in _parameters(one)], {})
        self._share_groups()

    def _share_groups(self) -> None:
        # The same objects, so that a schedule sets the learning rates of each optimiser.
        self.param_groups = [group for one in self.each for group in one.param_groups]

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


class StackOptimizer(JointOptimizer):
    """An optimiser of all models of a stack, which steps those of each group of models.

    :attr:`each` holds the optimisers of the parts of the first group, then those of the second, ...

    Arguments:
        parts: the weights of each part of the models, ``(K, ...)``.
        groups: the indices of the models of each group.
        build: makes the optimiser of a group's part from both indices and the weights of the models, which are views.
    """

    def __init__(
        self,
        parts: Sequence[Sequence[nn.Parameter]],
        groups: Sequence[slice],
        build: Callable[[int, int, list[nn.Parameter]], Optimizer],
    ) -> None:
        self.parts, self.groups = [list(part) for part in parts], list(groups)
        super().__init__(
            [
                build(place, index, _rows(part, own))
                for place, own in enumerate(self.groups)
                for index, part in enumerate(self.parts)
            ]
        )

    def keep(self, kept: Sequence[Sequence[int]], groups: Sequence[slice]) -> None:
        """Keep some of the models, whose rows are all that is left in the weights.

        Arguments:
            kept: for each group, the models that stay, counted within the group.
            groups: the new indices of the models of each group of which some stay.
        """
        members = [rows for rows in kept for _ in self.parts]
        self.each, self.groups = [*compress(self.each, members)], list(groups)
        for one, part, own, rows in zip(self.each, *self._places(), filter(None, members), strict=True):
            local = torch.tensor(rows)  # on the CPU, where it selects from tensors on any device
            parameters = _parameters(one)
            one.param_groups[0]["params"] = _rows(part, own)
            for old, new in zip(parameters, _parameters(one), strict=True):
                # A tensor of the weights' shape has a row for each model; anything else, like Adam's step, is shared.
                state = {
                    key: value[local] if isinstance(value, Tensor) and value.shape == old.shape else value
                    for key, value in one.state.pop(old, {}).items()
                }
                if state:
                    one.state[new] = state
        self._share_groups()

    def _places(self) -> tuple[list[list[nn.Parameter]], list[slice]]:
        """Return the weights and the models of each optimiser."""
        return self.parts * len(self.groups), [own for own in self.groups for _ in self.parts]

    def zero_grad(self, set_to_none: bool = True) -> None:
        for part in self.parts:
            for weight in part:
                weight.grad = None

    def step(self, closure: Any = None) -> Any:
        loss = None if closure is None else closure()
        for one, part, own in zip(self.each, *self._places(), strict=True):
            for rows, weight in zip(_parameters(one), part, strict=True):
                rows.grad = None if weight.grad is None else weight.grad[own]
            one.step()
        return loss


def _rows(weights: Sequence[nn.Parameter], own: slice) -> list[nn.Parameter]:
    return [nn.Parameter(weight.detach()[own]) for weight in weights]


def _parameters(optimizer: Optimizer) -> list[nn.Parameter]:
    (group,) = optimizer.param_groups
    parameters: list[nn.Parameter] = group["params"]
    return parameters
