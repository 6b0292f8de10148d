"""What is said of a gradient estimator: against estimates whose bias and variance are known, and of real ones."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from conftest import FewDigits
from lightning.pytorch import Trainer
from torch import Tensor

from vae_lightning import VAE
from vae_lightning.callbacks.gradient_statistics import GradientStatistics
from vae_lightning.evaluation.gradient_error import gradient_error
from vae_lightning.streams import generator


def normal(count: int, mean: Tensor, scale: float, seed: int) -> Tensor:
    noise = torch.randn(count, len(mean), generator=generator(seed, "test"), dtype=torch.float64)
    return mean + scale * noise


def test_bias_and_variance_are_those_of_the_estimates() -> None:
    gradient = torch.tensor([3.0, 0.0, 4.0, 0.0], dtype=torch.float64)  # of norm 5
    references = normal(20_000, gradient, 1.0, seed=0)
    biased = gradient_error(normal(20_000, 1.5 * gradient, 2.0, seed=1), references)
    assert biased.bias == pytest.approx(0.5, abs=0.01)
    assert biased.variance == pytest.approx(4 * 4 / 25, rel=0.05)
    assert biased.norm == pytest.approx(5, rel=0.01)
    assert biased.noise == pytest.approx((4 * (4 + 1) / 20_000) ** 0.5 / 5, rel=0.05)


def test_few_estimates_have_the_variance_of_a_sample() -> None:
    error = gradient_error(torch.tensor([[1.0], [3.0]]), torch.tensor([[2.0], [2.0], [2.0]]))
    assert error.norm == 2
    assert error.variance == 2 / 2**2  # (1 + 1) / (2 - 1), relative to the norm
    assert error.noise == pytest.approx(1 / 2)  # the square root of 2 / 2, relative


def test_noise_is_not_taken_for_bias() -> None:
    gradient = torch.ones(1000, dtype=torch.float64)
    found = [
        gradient_error(normal(50, gradient, 10.0, seed), normal(50, gradient, 1.0, seed + 100)) for seed in range(20)
    ]
    # The means are off by 1.4 of the norm, and nearly all of that is noise.
    assert found[0].noise == pytest.approx(1.42, rel=0.05)
    assert sum(error.bias**2 for error in found) / 20 < 0.1
    assert any(error.bias == 0 for error in found)


@pytest.mark.parametrize(
    ("estimator", "biased"), [("Reparameterization", False), ("ScoreFunction", False), ("NoGradient", True)]
)
def test_the_callback_tells_estimators_apart(
    estimator: str, biased: bool, few_digits: Callable[..., FewDigits]
) -> None:
    def fitted(*callbacks: Any) -> dict[str, float]:
        vae = VAE(latent_dim=2, widths=(16,), estimator={"_target_": f"vae_lightning.estimators.{estimator}"})
        trainer = Trainer(
            max_epochs=2,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            callbacks=[*callbacks],
        )
        trainer.fit(vae, datamodule=few_digits(400, val_size=100))
        return {name: float(value) for name, value in trainer.callback_metrics.items()}

    found = fitted(GradientStatistics(images=20, estimates=100, references=100))
    assert (found["gradient/bias"] > max(0.5, 2 * found["gradient/noise"])) == biased
    assert (found["gradient/variance"] > 10) == (estimator == "ScoreFunction")
    # Measuring changes nothing.
    assert found["train/loss"] == fitted()["train/loss"]
