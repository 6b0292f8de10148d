"""Estimators that claim to be unbiased are, in each element of each gradient; the others are not."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vae_lightning import VAE
from vae_lightning.estimators.rules import POSTERIORS, REPARAMETERIZED, SINGLE
from vae_lightning.objectives import IWAE, BetaELBO
from vae_lightning.posteriors import Distribution
from vae_lightning.posteriors.bernoulli import BernoulliDistribution
from vae_lightning.posteriors.categorical import CategoricalDistribution
from vae_lightning.posteriors.discrete import DiscreteDistribution
from vae_lightning.posteriors.gaussian import GaussianDistribution
from vae_lightning.priors import Prior
from vae_lightning.streams import generator

SHAPE = (1, 2, 3)
# Each of BATCHES estimates is the mean over the same images REPEATS times.
REPEATS, BATCHES = 200, 40

UNBIASED: dict[str, tuple[str, dict[str, Any]]] = {
    **{
        name: (name, {})
        for name in (
            *("Reparameterization", "StickingTheLanding", "ScoreFunction", "NVIL", "VIMCO", "MuProp", "Rebar"),
            *("Relax", "ARM", "DisARM", "Enumeration", "MeasureValued"),
        )
    },
    "LeaveOneOut, 2": ("LeaveOneOut", {"samples": 2}),
    "LeaveOneOut, 3": ("LeaveOneOut", {"samples": 3}),
    "batch mean": ("ScoreFunction", {"baseline": "batch_mean"}),
    "moving average": ("ScoreFunction", {"baseline": "moving_average"}),
}
BIASED: dict[str, tuple[str, dict[str, Any]]] = {
    "NoGradient": ("NoGradient", {}),
    "StraightThrough": ("StraightThrough", {}),
    "GumbelSoftmax": ("GumbelSoftmax", {}),
    "GumbelSoftmax, hard": ("GumbelSoftmax", {"hard": True}),
}


def known(values: Tensor) -> Distribution:
    """Return a distribution whose latent variables have one, two or three parameters: all families differ in that."""
    if values.shape[-1] == 2:
        return GaussianDistribution(*values.unbind(-1))
    return BernoulliDistribution(values.squeeze(-1)) if values.shape[-1] == 1 else CategoricalDistribution(values)


class _Values(NamedTuple):
    values: Tensor


class Unknown(_Values, Distribution):
    """The same distribution, whose KL is not known."""

    __slots__ = ()

    @property
    def mean(self) -> Tensor:
        return known(self.values).mean

    def rsample(self, noise: Tensor) -> Tensor:
        return known(self.values).rsample(noise)

    def log_prob(self, z: Tensor) -> Tensor:
        return known(self.values).log_prob(z)


class Learned(Prior):
    """The family of the posterior, with learned parameters and the KL in closed form."""

    factorised = True

    def __init__(self, latent_dim: int, image_shape: Sequence[int], numbers: int) -> None:
        super().__init__(latent_dim, image_shape)
        self.values = nn.Parameter(0.5 * torch.randn(latent_dim, numbers))

    def forward(self, model: Any, like: Tensor) -> Distribution:
        return known(self.values[None])


class Sampled(Learned):
    """The same without the closed form, so that the KL is sampled."""

    def forward(self, model: Any, like: Tensor) -> Distribution:
        return Unknown(self.values[None])


NUMBERS = {"Bernoulli": 1, "Categorical": 3, "Gaussian": 2}
ELBO: dict[str, Any] = {"_target_": "vae_lightning.objectives.NegativeELBO"}
BETA = {"_target_": "vae_lightning.objectives.BetaELBO", "beta": 0.3}
BOUND = {"_target_": "vae_lightning.objectives.IWAE", "samples": 3, "doubly_reparameterized": False}
DOUBLY = {**BOUND, "doubly_reparameterized": True}

# Posterior, number of latent variables, prior and objective.
MODELS: dict[str, tuple[str, int, type[Prior], Mapping[str, Any]]] = {
    "Bernoulli, ELBO": ("Bernoulli", 3, Learned, ELBO),
    "Bernoulli, beta and sampled KL": ("Bernoulli", 2, Sampled, BETA),
    "Bernoulli, IWAE": ("Bernoulli", 2, Learned, BOUND),
    "Categorical, ELBO": ("Categorical", 2, Learned, ELBO),
    "Categorical, IWAE": ("Categorical", 1, Sampled, BOUND),
    "Gaussian, beta": ("Gaussian", 2, Learned, BETA),
    "Gaussian, sampled KL": ("Gaussian", 1, Sampled, ELBO),
    "Gaussian, IWAE": ("Gaussian", 1, Learned, BOUND),
    "Gaussian, DReG": ("Gaussian", 1, Learned, DOUBLY),
}


def goes_with(estimator: str, posterior: str, objective: Mapping[str, Any]) -> bool:
    bound = objective.get("samples", 1) > 1
    if estimator == "VIMCO":
        return objective is BOUND
    return (
        posterior in POSTERIORS.get(estimator, (posterior,))
        and not (bound and estimator in SINGLE)
        and not (objective is DOUBLY and estimator not in REPARAMETERIZED)
        and not (posterior != "Gaussian" and estimator in REPARAMETERIZED)
    )


def cases(estimators: Mapping[str, tuple[str, dict[str, Any]]]) -> list[Any]:
    return [
        pytest.param(estimator, model, id=f"{estimator}-{model}")
        for estimator, (name, _) in estimators.items()
        for model, (posterior, _, _, objective) in MODELS.items()
        if goes_with(name, posterior, objective)
    ]


def make(estimator: tuple[str, dict[str, Any]], model: str) -> VAE:
    """Return a model with weights that make the gradients large, and random weights of the estimator's own."""
    posterior, latent_dim, prior, objective = MODELS[model]
    options = {"categories": 3} if posterior == "Categorical" else {}
    vae = VAE(
        latent_dim=latent_dim,
        widths=(4,),
        image_shape=SHAPE,
        activation="tanh",
        posterior={"_target_": f"vae_lightning.posteriors.{posterior}", **options},
        prior={"_target_": f"test_unbiased.{prior.__name__}", "numbers": NUMBERS[posterior]},
        objective=objective,
        estimator={"_target_": f"vae_lightning.estimators.{estimator[0]}", **estimator[1]},
        seed=3,
    ).double()
    source = generator(0, "weights")
    with torch.no_grad():
        for weight in vae.decoder.parameters():
            weight.mul_(1 if posterior == "Gaussian" else 3)  # smooth enough for the quadrature
        for weight in vae.estimator.parameters():
            weight.add_(0.3 * torch.randn(weight.shape, generator=source))
    return vae


def images() -> Tensor:
    return torch.rand(2, *SHAPE, generator=generator(0, "images"), dtype=torch.float64)


def latents(vae: VAE, posterior: Distribution, count: int) -> tuple[Tensor, Tensor]:
    """Return all latents, ``(C, count, size)``, and the logarithms of their shares, ``(C, count)``.

    Gaussian ones are those at the nodes of Gauss and Hermite's quadrature.
    """
    if isinstance(posterior, DiscreteDistribution):
        states = posterior.states()
        index = torch.cartesian_prod(*[torch.arange(len(states))] * vae.latent_dim).view(-1, vae.latent_dim)
        z = states[index].flatten(1)[:, None].expand(-1, count, -1)
        return z, posterior.log_prob(z).sum(-1)
    nodes, shares = (torch.from_numpy(values) for values in np.polynomial.hermite_e.hermegauss(20))
    noise = torch.cartesian_prod(*[nodes] * vae.latent_dim).view(-1, 1, vae.latent_dim)
    share = torch.cartesian_prod(*[(shares / math.sqrt(2 * math.pi)).log()] * vae.latent_dim)
    return posterior.rsample(noise), share.view(-1, vae.latent_dim).sum(-1, keepdim=True).expand(-1, count)


def exact(vae: VAE, x: Tensor) -> Tensor:
    """Return the expectation of the objective, the mean over images: a sum over all latents, written anew here."""
    posterior, prior, objective = vae.encode(x), vae.prior_distribution(), vae.objective
    z, log_share = latents(vae, posterior, len(x))
    nll = vae.nll(z, x)
    log_posterior, log_prior = posterior.log_prob(z).sum(-1), prior.log_prob(z).sum(-1)
    if isinstance(objective, IWAE):
        index = torch.cartesian_prod(*[torch.arange(len(z))] * objective.samples)  # of all K latents
        log_weights = (log_prior - log_posterior - nll)[index]
        values, log_share = math.log(objective.samples) - log_weights.logsumexp(1), log_share[index].sum(1)
    else:
        kl = posterior.kl(prior)
        each = log_posterior - log_prior if kl is None else kl.sum(-1)
        values = nll + (float(objective.beta) if isinstance(objective, BetaELBO) else 1) * each
    mean: Tensor = (log_share.exp() * values).sum(0).mean()
    return mean


def gradient(vae: VAE, loss: Tensor) -> dict[str, Tensor]:
    """Return the gradients of the model's own weights, by part, as vectors."""
    parts: dict[str, list[Tensor]] = {"encoder": [], "decoder": [], "prior": []}
    named = [(name, weight) for name, weight in vae.named_parameters() if name.partition(".")[0] in parts]
    gradients = torch.autograd.grad(loss, [weight for _, weight in named])
    for (name, _), found in zip(named, gradients, strict=True):
        parts[name.partition(".")[0]].append(found.flatten())
    return {part: torch.cat(found) for part, found in parts.items()}


def deviation(vae: VAE) -> dict[str, float]:
    """Return the largest deviation of each part's mean gradient from the exact one, in standard errors."""
    x, source = images(), generator(0, "noise")
    expected = gradient(vae, exact(vae, x))
    found = []
    repeated = x.repeat(REPEATS, 1, 1, 1)
    for _ in range(BATCHES):
        shape = (vae.noise_rows, len(repeated), vae.posterior.noise_size)
        draws = vae._draws(repeated, torch.randn(shape, generator=source, dtype=torch.float64), vae.estimator)
        found.append(gradient(vae, vae.estimator.loss(partial(vae.objective, step=0), draws).mean()))
    deviations = {}
    for part, reference in expected.items():
        estimates = torch.stack([each[part] for each in found])
        # Where nothing is random, what is left is rounding.
        error = estimates.std(0) / math.sqrt(BATCHES) + 1e-12
        deviations[part] = float(((estimates.mean(0) - reference).abs() / error).max())
    return deviations


@pytest.mark.parametrize(("estimator", "model"), cases(UNBIASED))
def test_the_mean_of_many_estimates_is_the_exact_gradient(estimator: str, model: str) -> None:
    assert max(deviation(make(UNBIASED[estimator], model)).values()) < 5


@pytest.mark.parametrize(("estimator", "model"), cases(BIASED))
def test_the_mean_of_a_biased_estimator_is_another(estimator: str, model: str) -> None:
    assert deviation(make(BIASED[estimator], model))["encoder"] > 10


@pytest.mark.parametrize("model", ["Bernoulli, ELBO", "Bernoulli, beta and sampled KL", "Categorical, ELBO"])
def test_enumeration_has_no_variance(model: str) -> None:
    vae, x = make(("Enumeration", {}), model), images()
    draws = vae._draws(x, torch.zeros(1, len(x), vae.posterior.noise_size, dtype=torch.float64), vae.estimator)
    loss, expected = vae.estimator.loss(partial(vae.objective, step=0), draws).mean(), exact(vae, x)
    torch.testing.assert_close(loss, expected)
    reference = gradient(vae, expected)
    for part, found in gradient(vae, loss).items():
        torch.testing.assert_close(found, reference[part])
