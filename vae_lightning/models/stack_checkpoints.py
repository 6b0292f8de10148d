"""Checkpoints of a stack: split into checkpoints of its models, and joined again."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from vae_lightning.models.padding import own_place
from vae_lightning.models.stack import Stack
from vae_lightning.models.vae import VAE

__all__ = ["join_checkpoints", "split_checkpoint"]


def split_checkpoint(stack: Stack, checkpoint: Mapping[str, Any], k: int) -> dict[str, Any]:
    """Return the checkpoint that the k-th model would have saved alone; call :meth:`Stack.unstack` first.

    Arguments:
        stack: the stack.
        checkpoint: checkpoint of the stack, as its Trainer makes it.
        k: index of the model.
    """
    vae = stack.vaes[k]
    hyperparameters = {
        vae.CHECKPOINT_HYPER_PARAMS_NAME: vae._hparams_name,
        vae.CHECKPOINT_HYPER_PARAMS_KEY: dict(vae.hparams),
    }
    states = [_split_state(stack, state, k) for state in checkpoint.get("optimizer_states", [])]
    return {**checkpoint, **hyperparameters, "state_dict": vae.state_dict(), "optimizer_states": states}


def _split_state(stack: Stack, state: Mapping[str, Any], k: int) -> dict[str, Any]:
    group = next(index for index, own in enumerate(stack.groups) if own.start <= k < own.stop)
    row, vae = k - stack.groups[group].start, stack.vaes[k]
    parts = vae.optimizer_parts()
    each = [
        _split_part(stack, state["each"][group * len(parts) + part], row, vae, names)
        for part, (_, names) in enumerate(parts)
    ]
    return each[0] if len(each) == 1 else {"each": each}


def _split_part(stack: Stack, state: Mapping[str, Any], row: int, vae: VAE, names: Sequence[str]) -> dict[str, Any]:
    own: dict[int, dict[str, Any]] = {}
    for index, name in enumerate(names):
        own[index] = {}
        for key, value in state["state"].get(index, {}).items():
            if isinstance(value, Tensor) and value.dim() > 0:
                padded = value[row].cpu()
                shape = vae.get_parameter(name).shape
                place = own_place(vae.posterior.size, shape, stack.posterior.size, padded.shape)
                own[index][key] = padded[place].clone()
            else:  # like Adam's step
                own[index][key] = copy.deepcopy(value)
    (parameters,) = state["param_groups"]
    return {"state": own if state["state"] else {}, "param_groups": [parameters | {"params": list(own)}]}


def join_checkpoints(stack: Stack, checkpoints: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a checkpoint from which the stack resumes as each of its models would from its own.

    Arguments:
        stack: a stack of models that have the weights in the checkpoints.
        checkpoints: one for each model, all of the same epoch.
    """
    parts = stack.model.optimizer_parts()
    states = []
    for own in stack.groups:
        saved = [checkpoint["optimizer_states"][0] for checkpoint in checkpoints[own]]
        for part, (_, names) in enumerate(parts):
            each = saved if len(parts) == 1 else [state["each"][part] for state in saved]
            states.append(_join_part(stack, each, own, names))
    return {
        **checkpoints[0],
        "state_dict": stack.state_dict(),
        "optimizer_states": [{"each": states}],
        "callbacks": {},
    }


def _join_part(stack: Stack, states: Sequence[Mapping[str, Any]], own: slice, names: Sequence[str]) -> dict[str, Any]:
    joint: dict[int, dict[str, Any]] = {}
    # By the first weight, because the state of a scalar looks like Adam's step, which is the same for all.
    of_weights = {
        key for key, value in states[0]["state"].get(0, {}).items() if isinstance(value, Tensor) and value.dim()
    }
    for index, name in enumerate(names):
        weight = stack.model.get_parameter(name)
        for key, value in states[0]["state"].get(index, {}).items():
            if key in of_weights:
                rows = value.new_zeros(len(states), *weight.shape[1:])
                for padded, vae, state in zip(rows, stack.vaes[own], states, strict=True):
                    given = state["state"][index][key]
                    padded[own_place(vae.posterior.size, given.shape, stack.posterior.size, padded.shape)] = given
                value = rows
            joint.setdefault(index, {})[key] = value
    (parameters,) = states[0]["param_groups"]
    return {"state": joint, "param_groups": [parameters | {"params": [*range(len(names))]}]}
