"""Two layers of discrete latents: densities, samples, gradients against enumeration, stacks, and what is refused."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor

from vae_lightning import VAE
from vae_lightning.config.errors import InputError
from vae_lightning.models import Stack
from vae_lightning.models.draw import draw
from vae_lightning.models.rules import check_choices
from vae_lightning.objectives.draws import Draws
from vae_lightning.streams import generator

SHAPE = (1, 3, 3)
LAYERS: dict[str, dict[str, Any]] = {
    "Bernoulli": {"_target_": "vae_lightning.posteriors.Bernoulli"},
    "Categorical": {"_target_": "vae_lightning.posteriors.Categorical", "categories": 3},
}
UNBIASED = [
    *("ScoreFunction", "LeaveOneOut", "NVIL", "MuProp", "Rebar", "Relax", "ARM", "DisARM", "MeasureValued"),
]
BIASED = ["StraightThrough", "GumbelSoftmax", "NoGradient"]


def two_layers(
    layer: str,
    estimator: str = "Enumeration",
    top: str = "Learned",
    widths: tuple[int, ...] = (),
    seed: int = 1,
    cls: type[VAE] = VAE,
    **options: Any,
) -> VAE:
    """A small model, far from its first weights, so that all gradients matter."""
    vae = cls(
        latent_dim=2,
        widths=[5],
        image_shape=SHAPE,
        posterior={"_target_": "vae_lightning.posteriors.TwoLayers", "layer": LAYERS[layer], "widths": widths},
        prior={
            "_target_": "vae_lightning.priors.TwoLayers",
            "top": {"_target_": f"vae_lightning.priors.{top}"},
            "widths": widths,
        },
        estimator={"_target_": f"vae_lightning.estimators.{estimator}"},
        seed=seed,
        **options,
    ).double()
    noise = generator(seed, "spread")
    with torch.no_grad():
        for name, weight in vae.named_parameters():
            if not name.startswith("estimator."):
                weight.add_(0.7 * torch.randn(weight.shape, generator=noise, dtype=torch.float64))
    return vae


@pytest.fixture(scope="module")
def few() -> Tensor:
    return torch.rand(3, *SHAPE, generator=generator(3, "images"), dtype=torch.float64).round()


def every_latent(vae: VAE) -> Tensor:
    """All latents of an image, ``(S, size)``."""
    states = vae.posterior(torch.zeros(1, vae.posterior.outputs).double()).states()
    index = torch.cartesian_prod(*[torch.arange(len(states))] * vae.posterior.latent_dim)
    every: Tensor = states[index].flatten(1)
    return every


@pytest.mark.parametrize("widths", [(), (4,)])
@pytest.mark.parametrize("layer", LAYERS)
def test_densities_sum_to_one_and_samples_follow_them(layer: str, widths: tuple[int, ...], few: Tensor) -> None:
    vae = two_layers(layer, widths=widths)
    every = every_latent(vae)
    with torch.no_grad():
        for distribution in (vae.encode(few[:1]), vae.prior_distribution()):
            log_probs = distribution.log_prob(every[:, None])
            assert log_probs.shape == (len(every), 1, 1)
            probabilities = log_probs.exp().flatten()
            assert probabilities.sum() == pytest.approx(1)
            noise = torch.randn(50_000, distribution.noise_size, generator=generator(0, "test"), dtype=torch.float64)
            samples = distribution.rsample(noise)
            found = (samples[:, None] == every).all(-1).double().mean(0)
            assert found.sum() == pytest.approx(1)
            assert ((found - probabilities).abs() < 5 * (probabilities / len(noise)).sqrt() + 1e-4).all()


@pytest.mark.parametrize("layer", LAYERS)
def test_the_top_layer_depends_on_the_image_through_the_first_alone(layer: str, few: Tensor) -> None:
    vae = two_layers(layer)
    z = vae.encode(few).rsample(torch.randn(3, vae.posterior.noise_size, generator=generator(0, "test")).double())
    first, second = vae.posterior.layer_sizes
    other = torch.cat([z[:, :first], z[:, first:].roll(1, 0)], 1)
    torch.testing.assert_close(vae.nll(z, few), vae.nll(other, few))
    assert vae.decoder.get_submodule("0").in_features == first
    assert vae.posterior.size == first + second


def gradients(vae: VAE, images: Tensor, groups: int, copies: int) -> tuple[list[str], Tensor]:
    """The names of the weights' numbers, and estimates of their gradients, each the mean of many, ``(groups, n)``."""
    weights = {name: weight for name, weight in vae.named_parameters() if not name.startswith("estimator.")}
    tiled = images.repeat(copies, 1, 1, 1)
    rows, source = vae.objective.samples * vae.estimator.rows, generator(0, "test")
    found = []
    for _ in range(groups):
        noise = torch.randn(rows, len(tiled), vae.posterior.noise_size, generator=source, dtype=torch.float64)
        draws = draw(vae, tiled, noise, estimator=vae.estimator)
        loss = vae.estimator.loss(partial(vae.objective, step=0), draws).mean()
        found.append(torch.cat([each.flatten() for each in torch.autograd.grad(loss, [*weights.values()])]))
    return [name for name, weight in weights.items() for _ in range(weight.numel())], torch.stack(found)


def standard_errors(layer: str, estimator: str, few: Tensor) -> dict[str, float]:
    """The largest distance of each weight's gradient from the exact one, in standard errors of the mean."""
    names, exact = gradients(two_layers(layer), few, groups=1, copies=1)
    _, found = gradients(two_layers(layer, estimator), few, groups=60, copies=100)
    distances = (found.mean(0) - exact[0]).abs() / (found.std(0) / len(found) ** 0.5 + 1e-12)
    return {name: float(distances[[each == name for each in names]].max()) for name in dict.fromkeys(names)}


@pytest.mark.parametrize(
    ("layer", "estimator"),
    [(layer, name) for name in UNBIASED for layer in LAYERS if layer == "Bernoulli" or name not in ("ARM", "DisARM")],
)
def test_the_mean_of_unbiased_estimates_is_the_exact_gradient(layer: str, estimator: str, few: Tensor) -> None:
    distances = standard_errors(layer, estimator, few)
    assert {"posterior.network.tensors.0", "prior.network.tensors.1", "prior.top.encoded"} <= {*distances}
    assert max(distances.values()) < 5, distances


@pytest.mark.parametrize("estimator", BIASED)
def test_that_of_biased_ones_is_not(estimator: str, few: Tensor) -> None:
    assert standard_errors("Bernoulli", estimator, few)["encoder.1.weight"] > 8


class Custom(VAE):
    """A subclass, which a stack evaluates with torch.func."""


def _loss(model: Any, draws: Draws) -> Tensor:
    loss: Tensor = model.estimator.loss(partial(model.objective, step=0), draws).mean(-1)
    return loss


@pytest.mark.parametrize("cls", [VAE, Custom])
@pytest.mark.parametrize("estimator", ["LeaveOneOut", "MuProp", "Relax", "MeasureValued", "GumbelSoftmax", "ARM"])
@pytest.mark.parametrize("layer", LAYERS)
def test_stacked_as_alone(layer: str, estimator: str, cls: type[VAE], few: Tensor) -> None:
    if (layer, estimator) == ("Categorical", "ARM"):
        return
    vaes = [two_layers(layer, estimator, seed=seed, cls=cls, widths=(4,)) for seed in (1, 2)]
    stack = Stack(vaes)
    assert stack._by_matrix_products == (cls is VAE)
    rows, size = vaes[0].noise_rows, vaes[0].posterior.noise_size
    noise = torch.randn(rows, 2, len(few), size, generator=generator(0, "test"), dtype=torch.float64)
    losses = _loss(stack, stack._draws(few[None], noise, stack.estimator))
    losses.sum().backward()
    for k, vae in enumerate(vaes):
        loss = _loss(vae, vae._draws(few, noise[:, k], vae.estimator))
        loss.backward()
        torch.testing.assert_close(losses[k], loss)
        for name, weight in stack.model.named_parameters():
            assert weight.grad is not None, name
            torch.testing.assert_close(weight.grad[k], vae.get_parameter(name).grad, msg=name)


def test_a_stack_needs_the_same_number_of_latents() -> None:
    vaes = [two_layers("Bernoulli"), VAE(**{**two_layers("Bernoulli").hparams, "latent_dim": 3})]
    with pytest.raises(InputError, match="latent_dim=3: must be 2 for all models of a stack"):
        Stack(vaes)


def node(group: str, name: str, **arguments: Any) -> dict[str, Any]:
    return {"_target_": f"vae_lightning.{group}s.{name}", **arguments}


TWO = node("posterior", "TwoLayers", layer=LAYERS["Bernoulli"])
PRIOR = node("prior", "TwoLayers", top=node("prior", "Standard"))


@pytest.mark.parametrize(
    ("said", "choices"),
    [
        ("prior=Vamp: must be standard or learned with two", {"prior": {**PRIOR, "top": node("prior", "Vamp")}}),
        ("prior=Learned: must be another, because the latent variables of", {"prior": node("prior", "Learned")}),
        ("prior=Flow: must be another, because it is a distribution of real", {"prior": node("prior", "Flow")}),
        ("prior=TwoLayers: must be another, because posterior=Bern", {"posterior": LAYERS["Bernoulli"]}),
        ("estimator=Reparameterization: must be another", {"estimator": node("estimator", "Reparameterization")}),
        (
            "estimator=ARM: must be another with posterior=Categorical",
            {"posterior": {**TWO, "layer": LAYERS["Categorical"]}, "estimator": node("estimator", "ARM")},
        ),
        (
            "posterior=Gaussian: must be bernoulli or categorical with two",
            {"posterior": {**TWO, "layer": node("posterior", "Gaussian")}},
        ),
    ],
)
def test_what_does_not_go_together_is_refused(said: str, choices: dict[str, Any]) -> None:
    chosen = {"posterior": TWO, "prior": PRIOR, "estimator": node("estimator", "LeaveOneOut"), **choices}
    with pytest.raises(InputError, match=said):
        VAE(**chosen)
    with pytest.raises(InputError, match=said):  # before torch is imported
        check_choices(chosen)


@pytest.mark.parametrize("prior", ["Standard", "Vamp"])
@pytest.mark.parametrize("layer", LAYERS)
def test_priors_of_any_posterior(layer: str, prior: str, few: Tensor) -> None:
    vae = VAE(
        latent_dim=2,
        widths=[5],
        image_shape=SHAPE,
        posterior={**TWO, "layer": LAYERS[layer]},
        prior=node("prior", prior),
        estimator=node("estimator", "LeaveOneOut"),
    ).double()
    with torch.no_grad():
        log_probs = vae.prior_distribution().log_prob(every_latent(vae)[:, None])
    assert log_probs.sum(-1).exp().sum() == pytest.approx(1)
    assert vae.sample(3).shape == (3, *SHAPE)
    vae.elbo(few).loss.sum().backward()
