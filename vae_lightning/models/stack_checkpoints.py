"""Checkpoints of a stack: split into checkpoints of its models, and joined again."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from vae_lightning.models.padding import own_place
from vae_lightning.models.stack import Stack

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
    state, row, vae = state["each"][group], k - stack.groups[group].start, stack.vaes[k]
    own: dict[int, dict[str, Any]] = {}
    for index, weight in enumerate(vae.parameters()):
        own[index] = {}
        for key, value in state["state"].get(index, {}).items():
            if isinstance(value, Tensor) and value.dim() > 0:
                padded = value[row].cpu()
                place = own_place(vae.latent_dim, weight.shape, stack.latent_dim, padded.shape)
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
    states = [
        _join_states(stack, [checkpoint["optimizer_states"][0] for checkpoint in checkpoints[own]], own)
        for own in stack.groups
    ]
    return {
        **checkpoints[0],
        "state_dict": stack.state_dict(),
        "optimizer_states": [{"each": states}],
        "callbacks": {},
    }


def _join_states(stack: Stack, states: Sequence[Mapping[str, Any]], own: slice) -> dict[str, Any]:
    joint: dict[int, dict[str, Any]] = {}
    # By the first weight, because the state of a scalar looks like Adam's step, which is the same for all.
    of_weights = {
        key for key, value in states[0]["state"].get(0, {}).items() if isinstance(value, Tensor) and value.dim()
    }
    for index, weight in enumerate(stack.model.parameters()):
        for key, value in states[0]["state"].get(index, {}).items():
            if key in of_weights:
                rows = value.new_zeros(len(states), *weight.shape[1:])
                for padded, vae, state in zip(rows, stack.vaes[own], states, strict=True):
                    given = state["state"][index][key]
                    padded[own_place(vae.latent_dim, given.shape, stack.latent_dim, padded.shape)] = given
                value = rows
            joint.setdefault(index, {})[key] = value
    (parameters,) = states[0]["param_groups"]
    return {"state": joint, "param_groups": [parameters | {"params": [*range(index + 1)]}]}
