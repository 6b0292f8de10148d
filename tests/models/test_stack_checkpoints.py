"""The checkpoint of a model of a stack is as small, and as independent, as that of a model alone."""

import copy
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest
import torch
from torch import Tensor

from vae_lightning import VAE
from vae_lightning.models.stack import Stack
from vae_lightning.models.stack_checkpoints import split_checkpoint

MODELS = 16


@pytest.fixture(scope="module")
def stack() -> Stack:
    return Stack([VAE(2, widths=[16], seed=seed) for seed in range(MODELS)])


@pytest.fixture(scope="module")
def checkpoint(stack: Stack) -> dict[str, Any]:
    """The stack's checkpoint after one step, from which its models have their weights."""
    optimizer = stack.configure_optimizers()
    for weight in stack.model.parameters():
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    stack.unstack()
    return {"epoch": 0, "optimizer_states": [optimizer.state_dict()]}


def content(checkpoint: Any) -> bytes:
    file = BytesIO()
    torch.save(checkpoint, file)
    return file.getvalue()


def tensors(node: Any) -> Iterator[Tensor]:
    if isinstance(node, Tensor):
        yield node
    elif isinstance(node, dict | list | tuple):
        for child in node.values() if isinstance(node, dict) else node:
            yield from tensors(child)


@pytest.mark.parametrize("k", [0, 3, MODELS - 1])
def test_a_models_checkpoint_holds_nothing_of_the_others(k: int, stack: Stack, checkpoint: dict[str, Any]) -> None:
    own = split_checkpoint(stack, checkpoint, k)
    for tensor in tensors(own):
        assert tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
    vae = VAE(2, widths=[16])
    optimizer = vae.configure_optimizers()
    for weight in vae.parameters():
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    hyperparameters = {name: value for name, value in own.items() if name.startswith("hparams") or "hyper" in name}
    alone = {"epoch": 0, "state_dict": vae.state_dict(), "optimizer_states": [optimizer.state_dict()]}
    assert len(content(own)) == pytest.approx(len(content(alone | hyperparameters)), rel=0.02)


def test_a_models_weights_stay_as_they_are_when_the_stack_trains_on(stack: Stack, checkpoint: dict[str, Any]) -> None:
    own = split_checkpoint(stack, checkpoint, 3)
    before = copy.deepcopy([*tensors(own)])
    weights = [weight.detach().clone() for weight in stack.model.parameters()]
    with torch.no_grad():
        for weight in stack.model.parameters():
            weight.zero_()
    assert all(torch.equal(*pair) for pair in zip(tensors(own), before, strict=True))
    with torch.no_grad():
        for weight, value in zip(stack.model.parameters(), weights, strict=True):
            weight.copy_(value)


def test_a_model_that_resumes_alone_counts_each_weights_steps_once(stack: Stack, checkpoint: dict[str, Any]) -> None:
    own = torch.load(BytesIO(content(split_checkpoint(stack, checkpoint, 3))), weights_only=True)
    vae = VAE(2, widths=[16])
    vae.load_state_dict(own["state_dict"])
    optimizer = vae.configure_optimizers()
    optimizer.load_state_dict(own["optimizer_states"][0])
    for weight in vae.parameters():
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    steps = [float(optimizer.state[weight]["step"]) for weight in vae.parameters()]
    assert steps == [2.0] * len(steps)
