"""Models of every family and prior: trained in a stack as alone."""

import itertools
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from vae_lightning.config.errors import InputError
from vae_lightning.models import VAE, Stack
from vae_lightning.models.padding import own_place
from vae_lightning.posteriors.rules import FACTORISED, SUPPORTS, WITHOUT_DERIVATIVE
from vae_lightning.priors.rules import INDEPENDENT
from vae_lightning.priors.rules import SUPPORTS as PRIOR_SUPPORTS

# Arguments besides the defaults, by name of the case.
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in SUPPORTS},
    "GaussianFull, low rank": ("GaussianFull", {"rank": 2}),
    "ConcreteBernoulli, relaxed": ("ConcreteBernoulli", {"kl": "relaxed"}),
    "ConcreteCategorical, straight through": ("ConcreteCategorical", {"straight_through": True}),
}
OBJECTIVES: dict[str, dict[str, Any]] = {
    "ELBO": {"_target_": "vae_lightning.objectives.NegativeELBO"},
    "IWAE": {"_target_": "vae_lightning.objectives.IWAE", "samples": 3, "doubly_reparameterized": False},
    "DReG": {"_target_": "vae_lightning.objectives.IWAE", "samples": 3},
}
SHAPE = (1, 5, 4)


class Custom(VAE):
    """A subclass, which a stack evaluates with torch.func."""


def _vae(case: str, prior: str, estimator: str, objective: str, latent_dim: int, seed: int, cls: type[VAE]) -> VAE:
    name, arguments = CASES[case]
    return cls(
        latent_dim=latent_dim,
        widths=[6],
        image_shape=SHAPE,
        posterior={"_target_": f"vae_lightning.posteriors.{name}", **arguments},
        prior={
            "_target_": f"vae_lightning.priors.{prior}",
            **({} if prior in ("Standard", "Flow", "Learned") else {"components": 2}),
        },
        estimator={"_target_": f"vae_lightning.estimators.{estimator}"},
        objective=OBJECTIVES[objective],
        seed=seed,
    ).double()


def loss_of(model: Any, images: Tensor, noise: Tensor) -> Tensor:
    draws = model._draws(images, noise, model.estimator)
    loss: Tensor = model.estimator.loss(partial(model.objective, step=0), draws).mean(-1)
    return loss


def check_stacked_as_alone(vaes: Sequence[VAE], images: Tensor) -> None:
    """Compare loss and gradients of each model with those that it has alone; gradients are zero in the padding."""
    stack, rows = Stack(vaes), vaes[0].noise_rows
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


@pytest.mark.parametrize("latent_dims", [(3, 3), (3, 2)], ids=["same", "padded"])
@pytest.mark.parametrize("prior", PRIOR_SUPPORTS)
@pytest.mark.parametrize("case", CASES)
def test_stacked_as_alone(case: str, prior: str, latent_dims: tuple[int, int]) -> None:
    """Loss and gradients of each model are those that it has alone, and zero in the padding."""
    images = torch.rand(4, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    combinations = [("Reparameterization", "ELBO"), ("Reparameterization", "IWAE"), ("Reparameterization", "DReG")]
    combinations += [("ScoreFunction", "ELBO"), ("ScoreFunction", "IWAE")]
    if CASES[case][0] in WITHOUT_DERIVATIVE:
        combinations = combinations[3:]
    for (estimator, objective), cls in itertools.product(combinations, (VAE, Custom)):
        if PRIOR_SUPPORTS[prior] not in (None, SUPPORTS[CASES[case][0]]):
            with pytest.raises(InputError, match=f"prior={prior}: must be another"):
                _vae(case, prior, estimator, objective, 3, 0, cls)
            return
        if prior in INDEPENDENT and CASES[case][0] not in FACTORISED:
            with pytest.raises(InputError, match=f"prior={prior}: must be another, because the latent variables"):
                _vae(case, prior, estimator, objective, 3, 0, cls)
            return
        vaes = [_vae(case, prior, estimator, objective, d, k, cls) for k, d in enumerate(latent_dims)]
        if latent_dims[0] != latent_dims[1] and not vaes[0].factorised:
            with pytest.raises(InputError, match="latent_dim=2: must be 3 for all models of a stack"):
                Stack(vaes)
            return
        check_stacked_as_alone(vaes, images)


@pytest.mark.parametrize("cls", [VAE, Custom])
def test_conditional_models_stacked_as_alone(cls: type[VAE]) -> None:
    generator = torch.Generator().manual_seed(0)
    vaes = [cls(latent_dim=d, widths=[6], image_shape=SHAPE, classes=3, seed=k).double() for k, d in enumerate((3, 2))]
    images = torch.rand(4, *SHAPE, dtype=torch.float64, generator=generator)
    examples = vaes[0].examples((images, torch.tensor([0, 2, 1, 2])))
    stack = Stack(vaes)
    noise = torch.randn(2, 4, 3, dtype=torch.float64, generator=generator)
    losses = stack.elbo(examples[None], noise).loss
    losses.mean(1).sum().backward()
    for k, vae in enumerate(vaes):
        own = vae.elbo(examples, noise[k, :, : vae.latent_dim]).loss
        own.mean().backward()
        torch.testing.assert_close(losses[k], own, rtol=1e-12, atol=1e-12)
        for name, weight in stack.model.named_parameters():
            gradient, found = vae.get_parameter(name).grad, weight.grad
            assert gradient is not None
            assert found is not None
            place = own_place(vae.posterior.size, gradient.shape, 3, found[k].shape)
            torch.testing.assert_close(found[k][place], gradient, rtol=1e-9, atol=1e-12)
