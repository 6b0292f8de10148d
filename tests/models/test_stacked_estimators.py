"""Models of every gradient estimator: trained in a stack as alone, their control variates included."""

from functools import partial
from typing import Any

import pytest
import torch
from test_stacked_families import SHAPE, Custom
from torch import Tensor

from vae_lightning.estimators.rules import POSTERIORS, RULES
from vae_lightning.models import VAE, Stack
from vae_lightning.models.padding import own_place

# Arguments besides the defaults, by name of the case.
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in RULES},
    "moving average": ("ScoreFunction", {"baseline": "moving_average"}),
    "batch mean": ("ScoreFunction", {"baseline": "batch_mean"}),
    "LeaveOneOut, 3": ("LeaveOneOut", {"samples": 3}),
}
BOUND = {"_target_": "vae_lightning.objectives.IWAE", "samples": 3, "doubly_reparameterized": False}


def models(estimator: str, posterior: str, cls: type[VAE] = VAE, latent_dims: tuple[int, ...] = (3, 2)) -> list[VAE]:
    name, arguments = CASES[estimator]
    return [
        cls(
            latent_dim=latent_dim,
            widths=[6],
            image_shape=SHAPE,
            posterior={"_target_": f"vae_lightning.posteriors.{posterior}"},
            estimator={"_target_": f"vae_lightning.estimators.{name}", **arguments},
            seed=seed,
            **({"objective": BOUND} if name == "VIMCO" else {}),
        ).double()
        for seed, latent_dim in enumerate(latent_dims)
    ]


def loss_of(model: Any, images: Tensor, noise: Tensor) -> Tensor:
    draws = model._draws(images, noise, model.estimator)
    loss: Tensor = model.estimator.loss(partial(model.objective, step=0), draws).mean(-1)
    return loss


@pytest.mark.parametrize("cls", [VAE, Custom], ids=["products", "vmap"])
@pytest.mark.parametrize(
    ("estimator", "posterior"),
    [
        (case, posterior)
        for case, (name, _) in CASES.items()
        for posterior in POSTERIORS.get(name, ("Gaussian",))
        # Three latent variables with ten values each are many for a test.
        if (name, posterior) != ("Enumeration", "Categorical")
    ],
)
def test_stacked_as_alone(estimator: str, posterior: str, cls: type[VAE]) -> None:
    """Loss and gradients of each model are those that it has alone, and zero in the padding."""
    images = torch.rand(4, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    vaes = models(estimator, posterior, cls)
    stack = Stack(vaes)
    rows = vaes[0]._rows
    noise = stack._draw(stack._noise("noise"), rows * len(images)).unflatten(1, (rows, -1)).movedim(1, 0)
    losses = loss_of(stack, images[None], noise)
    losses.sum().backward()
    for k, (vae, stream) in enumerate(zip(vaes, stack._noise("noise"), strict=True)):
        own_loss = loss_of(vae, images, stream.draw(rows * len(images)).unflatten(0, (rows, -1)))
        own_loss.backward()
        torch.testing.assert_close(losses[k], own_loss, rtol=1e-10, atol=1e-10)
        for name, weight in stack.model.named_parameters():
            own, found = vae.get_parameter(name).grad, weight.grad
            assert own is not None, name
            assert found is not None, name
            expected = torch.zeros_like(found[k])
            expected[own_place(vae.posterior.size, own.shape, stack.posterior.size, found[k].shape)] = own
            assert torch.allclose(found[k], expected, rtol=1e-9, atol=1e-9), name


@pytest.mark.parametrize("estimator", ["NVIL", "Rebar", "Relax"])
def test_a_model_that_diverges_leaves_the_losses_of_the_others(estimator: str) -> None:
    stack = Stack(models(estimator, "Bernoulli"))
    with torch.no_grad():
        for weight in stack.model.encoder.parameters():
            weight[0] = torch.nan
    images = torch.rand(4, *SHAPE, dtype=torch.float64)
    noise = torch.randn(stack._rows, 2, 4, 3, dtype=torch.float64)
    losses = loss_of(stack, images[None], noise)
    assert losses.isfinite().tolist() == [False, True]
    losses.sum().backward()
    assert all(weight.grad is not None and weight.grad[1].isfinite().all() for weight in stack.model.parameters())
