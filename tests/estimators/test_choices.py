"""Which choices go with an estimator: refused in one line, before torch is imported, and alike by the classes."""

import pytest
from conftest import Command

from vae_lightning import estimators, posteriors, priors
from vae_lightning.estimators.rules import POSTERIORS, REPARAMETERIZED, RULES, SINGLE
from vae_lightning.posteriors.rules import SUPPORTS, WITHOUT_DERIVATIVE
from vae_lightning.priors.rules import SUPPORTS as PRIOR_SUPPORTS
from vae_lightning.priors.rules import WITHOUT_WEIGHTS

BOUND = ["objective=iwae", "objective.doubly_reparameterized=false"]


@pytest.mark.usefixtures("no_torch")
@pytest.mark.parametrize(
    ("options", "line"),
    [
        (
            ["posterior=bernoulli"],
            "estimator=Reparameterization: must be another, such as estimator=leave_one_out, because the samples of "
            "posterior=Bernoulli have no derivative",
        ),
        (
            ["estimator=disarm"],
            "estimator=DisARM: must be another with posterior=Gaussian, because it needs posterior=bernoulli",
        ),
        (
            ["estimator=rebar"],
            "estimator=Rebar: must be another with posterior=Gaussian, because it needs posterior=bernoulli or "
            "posterior=categorical",
        ),
        (
            ["estimator=vimco"],
            "estimator=VIMCO: must be another with objective=NegativeELBO, because it needs objective=iwae with "
            "objective.doubly_reparameterized=false and objective.samples of 2 or more",
        ),
        (
            ["estimator=vimco", *BOUND, "objective.samples=1"],
            "estimator=VIMCO: must be another with objective=IWAE, because it needs objective=iwae with "
            "objective.doubly_reparameterized=false and objective.samples of 2 or more",
        ),
        (
            ["estimator=score_function", "objective=iwae"],
            "estimator=ScoreFunction: must be another, because the gradient of objective=IWAE goes through the "
            "latents, unless objective.doubly_reparameterized=false",
        ),
        (
            ["posterior=bernoulli", "estimator=enumeration", "model.latent_dim=5", *BOUND],
            "estimator=Enumeration: must be another, because objective=IWAE takes 5 latents of an image at once, "
            "unless objective.samples=1",
        ),
        (
            ["posterior=categorical", "estimator=enumeration", "model.latent_dim=4"],
            "estimator=Enumeration: must be another, or model.latent_dim smaller, because an image's latents have "
            "10000 values, above 4096",
        ),
        (
            ["model.prior_optimizer={_target_: torch.optim.SGD, lr: 0.01}"],
            "model.prior_optimizer: must be null, because prior=Standard has no weights",
        ),
    ],
)
def test_choices_that_do_not_go_together_are_refused(options: list[str], line: str, command: Command) -> None:
    done = command("train", "data=mnist_5k", "hydra.run.dir=run", *options)
    assert done.stderr == f"error: {line}\n"
    assert done.returncode == 2


def test_the_rules_repeat_what_the_classes_say() -> None:
    for name in RULES:
        cls = getattr(estimators, name)
        assert POSTERIORS.get(name) == cls.posteriors, name
        assert (name in REPARAMETERIZED) == cls.reparameterized, name
        assert (name in SINGLE) == cls.single, name
    for name in SUPPORTS:
        assert (name in WITHOUT_DERIVATIVE) == (not getattr(posteriors, name).differentiable), name
    for name in PRIOR_SUPPORTS:
        prior = getattr(priors, name)(latent_dim=2, image_shape=(1, 2, 2))
        prior.prepare(posteriors.TwoLayers(2) if name == "TwoLayers" else posteriors.Gaussian(2))
        assert (name in WITHOUT_WEIGHTS) == (next(prior.parameters(), None) is None), name
