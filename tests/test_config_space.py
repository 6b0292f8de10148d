"""Any valid configuration trains, any invalid one is refused: drawn at random over the whole space."""

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
from conftest import SMALL, composing
from hydra import compose
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig, OmegaConf

from vae_lightning import InputError
from vae_lightning.runs.training import train


def made(module: str, *classes: str, **arguments: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from([{"_target_": f"vae_lightning.{module}.{name}", **arguments} for name in classes])


VALID: dict[str, st.SearchStrategy[Any]] = {
    "objective": made("objectives", "NegativeELBO", "BetaELBO", "FreeBits")
    | made("objectives", "IWAE", samples=2, doubly_reparameterized=False),
    "likelihood": made("likelihoods", "Bernoulli", "ContinuousBernoulli", "Gaussian"),
    "estimator": made("estimators", "Reparameterization", "ScoreFunction", "NoGradient"),
    "schedule": made("schedules", "Constant") | made("schedules", "Cosine", steps=3),
    "data.binarisation": st.sampled_from(["none", "dynamic", "threshold"]),
    "model.decoder_widths": st.none() | st.lists(st.integers(1, 60), max_size=3),
    "model.activation": st.sampled_from(["relu", "leaky_relu", "elu", "silu", "gelu", "tanh"])
    | st.just({"_target_": "torch.nn.LeakyReLU", "negative_slope": 0.3}),
    "model.latent_dim": st.integers(1, 40),
    "model.widths": st.lists(st.integers(1, 60), max_size=4),
    "model.seed": st.integers(0, 2**32 - 1),
    "optimizer.lr": st.floats(1e-6, 1e-2),
    "optimizer.betas": st.tuples(st.floats(0, 0.9), st.floats(0.9, 0.999)).map(list),  # others may diverge
    "data.batch_size": st.integers(1, 500),
    "data.eval_batch_size": st.integers(1, 2000),
    "data.block_size": st.sampled_from(["auto", 1]),  # a few batches of an epoch come one at a time
    "data.val_size": st.integers(0, 3900),
    "data.split_seed": st.integers(0, 100),
    "callbacks.probe.standardize": st.booleans(),
    "callbacks.probe.max_train_images": st.none() | st.integers(500, 5000),
    "callbacks.probe.C": st.floats(1e-3, 10),
    "callbacks.probe.every_n_epochs": st.none() | st.just(1),
}
not_whole: st.SearchStrategy[Any] = st.floats() | st.text(max_size=3) | st.none() | st.booleans() | st.just([])
not_above_zero = st.floats(max_value=0) | st.sampled_from([math.nan, math.inf, -math.inf]) | st.text(max_size=3)
INVALID: dict[str, st.SearchStrategy[Any]] = {
    "objective.beta": st.floats(max_value=-1e-9) | st.just(math.nan) | st.text(max_size=3),
    "model.activation": st.text(max_size=3),
    "data.binarisation": st.text(max_size=3) | st.booleans(),
    "model.latent_dim": st.integers(max_value=0) | not_whole,
    "model.widths": st.lists(st.integers(max_value=0), min_size=1, max_size=3) | not_whole.filter(lambda x: x != []),
    "model.seed": st.integers(max_value=-1) | not_whole,
    "optimizer.lr": not_above_zero,
    "optimizer.betas": st.lists(st.floats(0, 0.9), max_size=1) | st.just([0.9, 1.0]),
    "data.batch_size": st.integers(max_value=0) | not_whole,
    "data.val_size": st.integers(max_value=-1) | st.integers(4000) | not_whole,
    "callbacks.probe.C": not_above_zero | st.just([]),
    "callbacks.probe.max_iter": st.integers(max_value=0) | not_whole,
    "trainer.max_epochs": st.integers(max_value=0) | not_whole,
}


@pytest.fixture(scope="module")
def fast() -> DictConfig:
    options = [
        *SMALL,
        "objective=beta",
        "debug=fast",
        "callbacks.probe.max_iter=5",
        "callbacks.figures=null",
        "sweep.name=s",
    ]
    with composing():
        return compose("train", [*options, "run_dir=run"])


folders = itertools.count()
# The same each time; a failure is not made smaller, which would take many runs.
settings.register_profile(
    "runs",
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
RUNS = settings.get_profile("runs")


@settings(RUNS, max_examples=12)
@given(values=st.fixed_dictionaries(VALID))
def test_any_valid_combination_trains(values: dict[str, Any], fast: DictConfig, tmp_path: Path) -> None:
    run = tmp_path / str(next(folders))
    cfg = fast.copy()
    OmegaConf.update(cfg, "run_dir", str(run))
    for key, value in values.items():
        OmegaConf.update(cfg, key, value, merge=False)
    metrics = train(cfg)
    assert math.isfinite(metrics["test/loss"])
    assert ("val/loss" in metrics) == (values["data.val_size"] > 0)
    assert (run / "metrics.json").exists()


@settings(RUNS, max_examples=200)
@given(bad=st.sampled_from(sorted(INVALID)).flatmap(lambda key: st.tuples(st.just(key), INVALID[key])))
def test_any_invalid_value_is_refused_by_name(bad: tuple[str, Any], fast: DictConfig, tmp_path: Path) -> None:
    key, value = bad
    assume("${" not in str(value))  # an interpolation
    cfg = fast.copy()
    OmegaConf.update(cfg, "run_dir", str(tmp_path / "run"))
    OmegaConf.update(cfg, key, value)
    with pytest.raises(InputError) as refused:
        train(cfg)
    assert str(refused.value).startswith(f"{key}=")
    assert "must be" in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "run").exists()
