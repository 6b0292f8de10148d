"""Custom networks, named in a configuration."""

import inspect
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from vae_lightning.config.errors import InputError
from vae_lightning.config.targets import build, find_class

__all__ = ["Batched", "build_network"]


class Batched(nn.Module):
    """A wrapper that lets a network with one batch dimension accept any number of them.

    Arguments:
        network: maps ``(B, ...)`` to ``(B, ...)``.
        dims: number of dimensions of one example.
    """

    def __init__(self, network: nn.Module, dims: int) -> None:
        super().__init__()
        self.network, self.dims = network, dims

    def forward(self, x: Tensor) -> Tensor:
        batch, example = x.shape[: x.dim() - self.dims], x.shape[x.dim() - self.dims :]
        y: Tensor = self.network(x.reshape(prod(batch), *example))  # not -1, because a batch may be empty
        return y.reshape(*batch, *y.shape[1:])


def build_network(
    key: str,
    node: Mapping[str, Any],
    inputs: Sequence[int],
    outputs: Sequence[int],
    offered: Mapping[str, Any] | None = None,
    **arguments: Any,
) -> Batched:
    """Build the network that a configuration names, and check that it maps ``(2, *inputs)`` to ``(2, *outputs)``.

    The check uses two examples of zeros, in evaluation mode. The weights come from torch's global generator.

    Arguments:
        key: the node's place in the configuration, for errors.
        node: ``_target_``, the full name of a ``torch.nn.Module``, and its arguments, plain values.
        inputs: shape of an input example.
        outputs: shape of an output example.
        offered: further arguments, for a class that has such ones.
        arguments: further arguments of the class.

    Raises:
        InputError: if there is no such class, it refuses the arguments, fails, or returns another shape.
    """
    given, expected, name = (2, *inputs), (2, *outputs), node["_target_"]
    try:
        accepted = inspect.signature(find_class(f"{key}._target_", name, nn.Module)).parameters.keys() - node.keys()
        arguments |= {argument: value for argument, value in (offered or {}).items() if argument in accepted}
        network = build(key, node, nn.Module, **arguments)
        modes = [(module, module.training) for module in network.modules()]
        with torch.no_grad():
            found = network.eval()(torch.zeros(given))
    except InputError:
        raise
    except Exception as error:  # a custom network may raise anything
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"{key}: {name} fails to map {given} to {expected}: {reason}") from error
    for module, training in modes:
        module.training = training
    shape = tuple(found.shape) if isinstance(found, Tensor) else f"a {type(found).__name__}"
    if shape != expected:
        raise InputError(f"{key}: {name} maps {given} to {shape}: must be {expected}")
    return Batched(network, len(inputs))
