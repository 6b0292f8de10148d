"""What the estimators' own weights learn, and the variance that is left."""

import math
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from vae_lightning import VAE, MNIST5kDataModule
from vae_lightning.objectives import Draws
from vae_lightning.posteriors import GaussianDistribution
from vae_lightning.posteriors.bernoulli import BernoulliDistribution
from vae_lightning.posteriors.categorical import CategoricalDistribution
from vae_lightning.streams import generator


def make(estimator: str, posterior: str = "Bernoulli", latent_dim: int = 3, **arguments: Any) -> VAE:
    return VAE(
        latent_dim=latent_dim,
        widths=(5,),
        image_shape=(1, 7, 7),
        posterior={"_target_": f"vae_lightning.posteriors.{posterior}"},
        estimator={"_target_": f"vae_lightning.estimators.{estimator}", **arguments},
        seed=1,
    ).double()


def drawn(vae: VAE, images: Tensor, logits: Tensor | None = None, seed: int = 0) -> Draws:
    """Return the draws of images, from given logits in place of the encoder's."""
    shape = (vae.noise_rows, len(images), vae.posterior.noise_size)
    if logits is not None:
        vae.encode = lambda images: vae.posterior(logits)  # type: ignore[method-assign]
    return vae._draws(
        images, torch.randn(shape, generator=generator(seed, "noise"), dtype=torch.float64), vae.estimator
    )


def loss_of(vae: VAE, draws: Draws) -> Tensor:
    return vae.estimator.loss(partial(vae.objective, step=0), draws)


@pytest.fixture(scope="module")
def few() -> Tensor:
    """Four digits, black and white."""
    return (MNIST5kDataModule().read()[0].images[::1000, :, ::4, ::4] / 255).double().round()


@pytest.mark.parametrize(
    ("estimator", "arguments"), [("NVIL", {"hidden": 4}), ("ScoreFunction", {"baseline": "moving_average"})]
)
def test_a_learned_baseline_follows_half_its_squared_error(
    estimator: str, arguments: dict[str, Any], few: Tensor
) -> None:
    vae = make(estimator, **arguments)
    weights = [*vae.estimator.parameters()]
    draws = drawn(vae, few)
    found = torch.autograd.grad(loss_of(vae, draws).mean(), weights)
    learned: Any = vae.estimator
    baseline = learned.average + (learned.network(few)[:, 0] if estimator == "NVIL" else 0)
    error = 0.5 * (draws.nll[0].detach() - baseline).square()
    for own, expected in zip(found, torch.autograd.grad(error.mean(), weights), strict=True):
        assert expected.abs().max() > 0
        torch.testing.assert_close(own, expected)


@pytest.mark.parametrize("posterior", ["Bernoulli", "Categorical"])
@pytest.mark.parametrize("estimator", ["Rebar", "Relax"])
def test_the_control_variate_follows_the_squared_gradient(estimator: str, posterior: str, few: Tensor) -> None:
    """Its gradient is that of the squared estimate in the logits, by finite differences with the same noise."""
    vae = make(estimator, posterior, **({"hidden": 3} if estimator == "Relax" else {}))
    logits = vae.encoder(few).detach().requires_grad_()

    def square() -> float:
        draws = drawn(vae, few, logits)
        (gradient,) = torch.autograd.grad(loss_of(vae, draws).sum() - draws.kl.sum(), logits)
        return float(gradient.square().sum(-1).mean())

    loss_of(vae, drawn(vae, few, logits)).mean().backward()
    for name, weight in vae.estimator.named_parameters():
        assert weight.grad is not None
        place = int(weight.grad.abs().argmax())  # of many weights, the one that matters most
        flat, small, values = weight.detach().view(-1), 1e-5, []
        for sign in (1, -2, 1):
            flat[place] += sign * small
            values.append(square())
        expected = (values[0] - values[1]) / (2 * small)
        assert float(weight.grad.view(-1)[place]) == pytest.approx(expected, rel=1e-5), name


def variance(vae: VAE, images: Tensor, repeats: int = 2000) -> float:
    """Return the variance of an estimate of each image's gradient in the encoder's output, summed over its elements."""
    logits = vae.encoder(images).detach().repeat(repeats, 1).requires_grad_()
    draws = drawn(vae, images.repeat(repeats, 1, 1, 1), logits)
    (gradient,) = torch.autograd.grad(loss_of(vae, draws).sum(), logits)
    return float(gradient.unflatten(0, (repeats, -1)).var(0).sum())


def trained(vae: VAE, images: Tensor, steps: int = 150, lr: float = 0.01) -> VAE:
    """Train the estimator's own weights alone."""
    images = images.repeat(20, 1, 1, 1)
    weights, logits = [*vae.estimator.parameters()], vae.encoder(images).detach().requires_grad_()
    optimizer = torch.optim.Adam(weights, lr=lr)
    for step in range(steps):
        optimizer.zero_grad()
        loss_of(vae, drawn(vae, images, logits, seed=step)).mean().backward(inputs=weights)
        optimizer.step()
    return vae


def test_the_variances_are_in_the_order_of_the_papers(few: Tensor) -> None:
    nvil, rebar, relax = (trained(make(name), few) for name in ("NVIL", "Rebar", "Relax"))
    found = {name: variance(make(name), few) for name in ("ScoreFunction", "LeaveOneOut", "ARM", "DisARM", "MuProp")}
    found |= {"NVIL": variance(nvil, few), "Rebar": variance(rebar, few), "Relax": variance(relax, few)}
    assert found["NVIL"] < found["ScoreFunction"]
    assert found["Rebar"] < 0.7 * found["NVIL"]
    assert found["Relax"] < found["Rebar"]
    assert found["DisARM"] < found["ARM"]
    assert found["DisARM"] < found["LeaveOneOut"]


class Linear(VAE):
    """Linear pixels with noise of the standard deviation 1, whose true posterior is a Gaussian."""

    def nll(self, z: Tensor, images: Tensor) -> Tensor:
        nll: Tensor = 0.5 * (images.flatten(-3) - self.decode(z).flatten(-3)).square().sum(-1)
        return nll


def test_where_the_posterior_is_the_true_one_the_landing_sticks(few: Tensor) -> None:
    found = {}
    for name in ("StickingTheLanding", "Reparameterization"):
        vae = Linear(
            latent_dim=1,
            decoder={"_target_": "test_control_variates.Plane"},
            image_shape=(1, 7, 7),
            estimator={"_target_": f"vae_lightning.estimators.{name}"},
        ).double()
        slope = vae.decode(torch.ones(1, 1).double()).flatten().detach()
        true = 1 / (1 + slope @ slope)
        mu = true * few.flatten(1) @ slope[:, None]
        posterior = GaussianDistribution(*(x.clone().requires_grad_() for x in (mu, true.log().expand_as(mu))))
        vae.encode = lambda images, posterior=posterior: posterior  # type: ignore[method-assign, misc]
        found[name] = torch.cat(torch.autograd.grad(loss_of(vae, drawn(vae, few)).sum(), [*posterior]))
    assert found["StickingTheLanding"].abs().max() < 1e-12
    assert found["Reparameterization"].abs().max() > 0.01


class Plane(torch.nn.Module):
    """A linear map without an offset."""

    def __init__(self, image_shape: tuple[int, ...], latent_dim: int) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(latent_dim, math.prod(image_shape), bias=False)
        self.image_shape = image_shape

    def forward(self, z: Tensor) -> Tensor:
        image: Tensor = self.layer(z).unflatten(-1, self.image_shape)
        return image


@pytest.mark.parametrize(
    "distribution",
    [
        BernoulliDistribution(torch.tensor([[1.5, -0.3]]).double()),
        CategoricalDistribution(torch.tensor([[[1.5, -0.3, 0.2]]]).double()),
    ],
    ids=["Bernoulli", "Categorical"],
)
def test_conditional_draws_split_the_gradient_of_an_expectation(distribution: Any) -> None:
    """E[c(zeta)] changes with the probability of each sample, and with zeta given the sample."""
    count = 200_000
    logits = distribution.logits.expand(count, *distribution.logits.shape[1:]).clone().requires_grad_()
    drawn = type(distribution)(logits)
    size = distribution.logits[0].numel()
    noise = torch.randn(count, size, generator=generator(0, "noise"), dtype=torch.float64)
    free = drawn.perturbed(noise)
    conditional = drawn.conditional(free.detach())
    torch.testing.assert_close(conditional, free)
    score = drawn.log_prob(drawn.harden(free.detach())).sum(-1)
    ranks = torch.arange(1, size + 1).view(distribution.logits[0].shape)

    def variate(perturbed: Tensor) -> Tensor:
        return (perturbed / ranks).tanh().flatten(1).sum(-1)

    split = variate(conditional) + variate(free).detach() * score
    (difference,) = torch.autograd.grad((variate(free) - split).sum(), logits)
    difference = difference.flatten(1)
    assert (difference.mean(0).abs() < 5 * difference.std(0) / math.sqrt(count)).all()
