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
    own: dict[int, dict[str, Any]] = {index: {} for index, _ in enumerate(vae.parameters())}
    for key, value in state["state"].get(0, {}).items():
        is_for_each = isinstance(value, Tensor) and value.dim() == 2  # otherwise, like Adam's step, it is shared
        padded = stack.matrix.columns(value[row : row + 1].cpu()) if is_for_each else ()
        for index, weight in enumerate(vae.parameters()):
            if is_for_each:
                place = own_place(vae.latent_dim, weight.shape, stack.latent_dim, padded[index].shape[1:])
                own[index][key] = padded[index][0][place].clone()
            else:  # copied, because an optimiser keeps a separate step count for each weight
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
    joint: dict[str, Any] = {}
    for key, value in states[0]["state"].get(0, {}).items():
        joint[key] = value
        if isinstance(value, Tensor) and value.dim() > 0:
            joint[key] = value.new_zeros(len(states), sum(stack.matrix.widths))
            for row, (vae, state) in enumerate(zip(stack.vaes[own], states, strict=True)):
                for index, padded in enumerate(stack.matrix.columns(joint[key][row : row + 1])):
                    given = state["state"][index][key]
                    place = own_place(vae.latent_dim, given.shape, stack.latent_dim, padded.shape[1:])
                    padded[0][place] = given
    (parameters,) = states[0]["param_groups"]
    return {"state": {0: joint} if joint else {}, "param_groups": [parameters | {"params": [0]}]}
