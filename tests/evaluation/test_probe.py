from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import CSVLogger
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from vae_lightning import VAE, InputError, LinearProbe, linear_probe
from vae_lightning.data.image_data_module import ImageDataModule
from vae_lightning.evaluation.features import Features, encode_images

FewDigits = Callable[..., ImageDataModule]


@pytest.fixture(scope="module")
def parts() -> list[Features]:
    """Training, validation and test features of classes that overlap, on scales far apart."""
    mu, labels = make_classification(900, 6, n_informative=4, n_classes=3, random_state=0)
    mu = mu * [1, 10, 0.1, 1, 5, 1] + [0, 30, 0, 0, 1, 0]
    return [Features(mu[i : i + 300], labels[i : i + 300]) for i in (0, 300, 600)]


def test_the_defaults_are_scikit_learns_own_fit(parts: list[Features]) -> None:
    train, val, test = parts
    expected = LogisticRegression(max_iter=1000).fit(*train)
    result = linear_probe(train, val, test)
    assert result == (expected.score(*train), expected.score(*val), expected.score(*test), 1.0, True)


def test_standardising_uses_the_training_statistics_alone(parts: list[Features]) -> None:
    train, val, test = parts
    scaler = StandardScaler().fit(train.mu)
    expected = LogisticRegression(max_iter=1000).fit(scaler.transform(train.mu), train.labels)
    # Test features far off: their own statistics would hide that.
    shifted = Features(test.mu + 100, test.labels)
    result = linear_probe(train, val, shifted, standardize=True)
    assert result.val_acc == expected.score(scaler.transform(val.mu), val.labels)
    assert result.test_acc == expected.score(scaler.transform(shifted.mu), shifted.labels)


def test_standardising_leaves_a_dimension_that_does_not_vary_alone(parts: list[Features]) -> None:
    train, _, test = parts
    wider, wider_test = (Features(np.pad(part.mu, ((0, 0), (0, 1))), part.labels) for part in (train, test))
    wider_test.mu[:, -1] = 1e-3
    for standardize in (False, True):
        expected = linear_probe(train, test=test, standardize=standardize)
        assert linear_probe(wider, test=wider_test, standardize=standardize) == expected


def test_features_that_are_not_finite_are_refused(parts: list[Features]) -> None:
    broken = Features(np.where(parts[0].mu > 31, np.nan, parts[0].mu), parts[0].labels)
    for train, val, test in ([broken, *parts[1:]], [parts[0], broken, parts[2]], [*parts[:2], broken]):
        with pytest.raises(ValueError, match="not finite"):
            linear_probe(train, val, test)


def test_validation_chooses_among_several_strengths() -> None:
    mu, labels = make_classification(1000, 40, n_informative=3, n_redundant=0, flip_y=0.2, random_state=0)
    # So few to fit to that the weakest penalty is not the best.
    train, val, test = (Features(mu[rows], labels[rows]) for rows in (slice(60), slice(60, 500), slice(500, None)))
    candidates = [1e-6, 1e-2, 1.0, 100.0]
    scores = {C: linear_probe(train, val, C=C).val_acc for C in candidates}
    result = linear_probe(train, val, test, C=candidates)
    assert result.val_acc == max(value for value in scores.values() if value is not None)
    assert scores[result.C] == result.val_acc
    assert result.C in candidates[1:-1]
    assert result.test_acc == linear_probe(train, test=test, C=result.C).test_acc
    with pytest.raises(InputError, match="must be a single value, because there are no validation images"):
        linear_probe(train, C=candidates)


@pytest.mark.parametrize("candidates", [[100.0, 1.0, 10.0], [1.0, 10.0, 100.0], [10.0, 100.0, 1.0]])
def test_of_equally_good_strengths_the_smallest_is_chosen_whatever_their_order(candidates: list[float]) -> None:
    labels = np.arange(90) % 3
    separable = Features(np.eye(3)[labels] * 10 + np.linspace(0, 1, 90)[:, None], labels)
    result = linear_probe(separable, separable, C=candidates)
    assert (result.val_acc, result.C) == (1.0, 1.0)


def test_a_fit_that_did_not_converge_says_so(parts: list[Features], caplog: pytest.LogCaptureFixture) -> None:
    assert linear_probe(parts[0]).converged
    assert caplog.text == ""
    assert not linear_probe(parts[0], max_iter=1).converged
    assert "C=1 did not converge within max_iter=1" in caplog.text


def test_features_without_information_give_the_rate_of_guessing() -> None:
    source = np.random.default_rng(0)
    train, test = (Features(source.normal(size=(4000, 5)), source.integers(10, size=4000)) for _ in range(2))
    accuracy = linear_probe(train, test=test).test_acc
    assert accuracy == pytest.approx(0.1, abs=0.03)


@pytest.mark.parametrize("option", [{"C": 0.0}, {"C": [1.0, -1.0]}, {"max_iter": 0}, {"every_n_epochs": 0}])
def test_bad_options_are_refused_by_name(option: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"^{next(iter(option))}="):
        LinearProbe(**option)


class Watchful(nn.Module):
    """Passes its input on, and keeps account of how it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[bool, bool]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.calls.append((self.training, torch.is_grad_enabled()))
        return x


def test_encoding_is_in_eval_mode_without_gradients_and_leaves_the_model_as_it_was(images: Tensor) -> None:
    vae = VAE()
    watch = Watchful()
    vae.encoder = torch.nn.Sequential(watch, vae.encoder)
    vae.train()
    vae.decoder.eval()  # a part in another mode than the whole stays so
    modes = [module.training for module in vae.modules()]
    before = [p.clone() for p in vae.parameters()]
    features = encode_images(vae, [(images.unflatten(0, (4, 25)), torch.arange(100).view(4, 25))], limit=90)
    assert watch.calls == [(False, False)]
    assert [module.training for module in vae.modules()] == modes
    assert all(torch.equal(p, q) and p.grad is None for p, q in zip(vae.parameters(), before, strict=True))
    assert features.labels.tolist() == [*range(90)]
    np.testing.assert_allclose(features.mu, vae.encode(images[:90]).mu.detach(), rtol=1e-5, atol=1e-6)


def test_the_callback_scores_validation_while_training_and_test_once(few_digits: FewDigits, tmp_path: Path) -> None:
    data = few_digits(1000, val_size=500)
    logger = CSVLogger(str(tmp_path), name="", version="")
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=4,
        logger=logger,
        callbacks=[LinearProbe(every_n_epochs=2, max_iter=20)],
        enable_checkpointing=False,
        enable_progress_bar=False,
    )
    vae = VAE()
    trainer.fit(vae, datamodule=data)
    trainer.test(vae, datamodule=data, verbose=False)
    rows = [line.split(",") for line in (tmp_path / "metrics.csv").read_text().splitlines()]
    columns = {name: [row[place] for row in rows[1:] if row[place]] for place, name in enumerate(rows[0])}
    assert len(columns["probe/val_acc"]) == 3
    assert len(columns["probe/test_acc"]) == 1
    # What was logged at the end is what the function gives.
    expected = linear_probe(
        encode_images(vae, data.train_dataloader()),
        encode_images(vae, data.val_dataloader()),
        encode_images(vae, data.test_dataloader()),
        max_iter=20,
    )
    assert float(columns["probe/test_acc"][-1]) == expected.test_acc
    assert float(columns["probe/val_acc"][-1]) == expected.val_acc
    assert float(columns["probe/train_acc"][-1]) == expected.train_acc
