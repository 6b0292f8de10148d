import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.nn import functional as F

from vae_lightning.data.images import LabelledImages
from vae_lightning.evaluation.logistic_regression import Fit, logistic_regression

TIGHT = 1e-9


@pytest.fixture(scope="module")
def features(digits: tuple[LabelledImages, LabelledImages]) -> tuple[Tensor, Tensor]:
    """Twelve principal components of 2,000 real digits, ``(1, 2000, 12)`` of double precision, and their labels."""
    some = digits[0].subset(torch.arange(0, 4000, 2))
    pixels = some.images.flatten(1).double() / 255
    _, _, axes = torch.linalg.svd(pixels - pixels.mean(0), full_matrices=False)
    return (pixels @ axes[:12].T)[None], some.labels[None]


def objective(weight: Tensor, intercept: Tensor, x: Tensor, y: Tensor, C: float) -> Tensor:
    """Written down as scikit-learn's manual has it, for one set and labels 0, 1, ..."""
    return F.cross_entropy(x @ weight.T + intercept, y) + weight.square().sum() / (2 * C * len(x))


def reference(x: Tensor, y: Tensor, C: float = 1.0) -> LogisticRegression:
    return LogisticRegression(C=C, solver="newton-cholesky", tol=1e-10, max_iter=1000).fit(x.numpy(), y.numpy())


def centred(intercept: Tensor) -> Tensor:
    """What all classes have in common is arbitrary."""
    return intercept - intercept.mean(-1, keepdim=True)


def assert_same(fit: Fit, other: Fit, tolerance: float) -> None:
    assert fit.converged.all()
    assert other.converged.all()
    for a, b in ((fit.weight, other.weight), (centred(fit.intercept), centred(other.intercept))):
        assert (a - b).abs().max() <= tolerance * b.abs().max()


@pytest.mark.parametrize("C", [1e-3, 1.0, 1e3])
def test_the_gradient_at_the_solution_is_zero(features: tuple[Tensor, Tensor], C: float) -> None:
    x, y = features
    fit = logistic_regression(x, y, C, tolerance=TIGHT)
    weight, intercept = (part[0].clone().requires_grad_() for part in (fit.weight, fit.intercept))
    gradients = torch.autograd.grad(objective(weight, intercept, x[0], y[0], C), (weight, intercept))
    assert fit.converged.all()
    assert max(gradient.abs().max().item() for gradient in gradients) < 10 * TIGHT


@pytest.mark.parametrize("C", [1e-3, 1.0, 1e3])
def test_the_solution_is_scikit_learns(features: tuple[Tensor, Tensor], C: float) -> None:
    x, y = features
    expected = reference(x[0], y[0], C)
    coefficients, intercepts = torch.from_numpy(expected.coef_), torch.from_numpy(expected.intercept_)
    fit = logistic_regression(x, y, C, tolerance=TIGHT)
    assert (fit.weight[0] - coefficients).abs().max() < 1e-5 * coefficients.abs().max()
    assert (centred(fit.intercept[0]) - centred(intercepts)).abs().max() < 1e-5 * intercepts.abs().max()
    reached = objective(fit.weight[0], fit.intercept[0], x[0], y[0], C)
    assert reached <= objective(coefficients, intercepts, x[0], y[0], C) + 1e-12
    assert np.mean(fit.predict(x)[0].numpy() == expected.predict(x[0].numpy())) == 1


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_single_precision_converges_whatever_the_scale(
    features: tuple[Tensor, Tensor], scale: float, offset: float
) -> None:
    x, y = features
    scaled = ((x + offset) * scale).float()
    # The penalty is scaled along, so that the optimum does not depend on the scale but by a factor.
    fit = logistic_regression(scaled, y, C=1 / scale**2)
    exact = logistic_regression(x, y, tolerance=TIGHT)
    assert fit.converged.all()
    assert fit.iterations < 50
    assert (fit.weight * scale - exact.weight).abs().max() < 1e-3 * exact.weight.abs().max()
    assert (fit.predict(scaled) == exact.predict(x)).double().mean() >= 0.999


def test_scales_far_apart_within_one_set(features: tuple[Tensor, Tensor]) -> None:
    x, y = features
    x = x * torch.logspace(-3, 3, x.shape[2], dtype=x.dtype)
    fit = logistic_regression(x.float(), y)
    assert_same(fit._replace(weight=fit.weight.double()), logistic_regression(x, y, tolerance=TIGHT), 1e-2)
    assert fit.iterations < 100


def test_columns_of_zeros_get_weights_of_zero_and_change_nothing(features: tuple[Tensor, Tensor]) -> None:
    x, y = features
    plain = logistic_regression(x, y, tolerance=TIGHT)
    padded = logistic_regression(F.pad(x, (3, 5)), y, tolerance=TIGHT)
    zeros = torch.cat([padded.weight[:, :, :3], padded.weight[:, :, -5:]], 2)
    assert (zeros == 0).all()
    assert_same(padded._replace(weight=padded.weight[:, :, 3:-5]), plain, 1e-8)


def test_a_batch_gives_what_each_gives_alone(features: tuple[Tensor, Tensor]) -> None:
    x, y = features
    # Hard, easy, with other labels, without a class (9 has the last tenth of the rows), and with two classes alone.
    sets = [x, x * 1e-2, x, x, x]
    labels = [y, y, y.flip(1), y.clamp(max=8), y // 5 * 9]
    alone = [logistic_regression(a, b, C=100, tolerance=TIGHT) for a, b in zip(sets, labels, strict=True)]
    batch = logistic_regression(torch.cat(sets), torch.cat(labels), C=100, tolerance=TIGHT)
    assert batch.iterations >= max(fit.iterations for fit in alone)
    for k, fit in enumerate(alone):
        there = torch.isin(batch.classes, fit.classes)
        one = batch._replace(weight=batch.weight[k : k + 1, there], intercept=batch.intercept[k : k + 1, there])
        assert_same(one, fit, 1e-5)
        assert (batch.weight[k, ~there] == 0).all()
    predicted = batch.predict(torch.cat(sets))
    for k, fit in enumerate(alone):
        assert torch.equal(predicted[k], fit.predict(sets[k])[0])


def test_a_fit_that_is_done_waits_for_the_others(features: tuple[Tensor, Tensor]) -> None:
    x, y = features
    sets = torch.cat([x * 1e-2, x])
    first = logistic_regression(x * 1e-2, y).iterations
    whole, begun = logistic_regression(sets, y), logistic_regression(sets, y, max_iter=first)
    assert whole.iterations > first
    assert begun.converged.tolist() == [True, False]
    assert torch.equal(whole.weight[0], begun.weight[0])


def test_one_set_of_labels_serves_a_batch(features: tuple[Tensor, Tensor]) -> None:
    x, y = features
    sets = torch.cat([x, x.flip(2)])
    assert_same(logistic_regression(sets, y), logistic_regression(sets, y.expand(2, -1)), 1e-6)


def test_a_set_that_is_not_finite_leaves_the_others_alone(features: tuple[Tensor, Tensor]) -> None:
    x, y = features
    alone = logistic_regression(x, y)
    both = logistic_regression(torch.cat([x * torch.nan, x]), y)
    assert both.converged.tolist() == [False, True]
    assert both.iterations == alone.iterations
    assert torch.allclose(both.weight[1:], alone.weight)


def test_other_names_for_the_classes_permute_the_solution(features: tuple[Tensor, Tensor]) -> None:
    x, y = features
    names = torch.tensor([70, -3, 5, 4, 900, 8, 11, 12, 0, 1])
    fit, renamed = (logistic_regression(x, labels, tolerance=TIGHT) for labels in (y, names[y]))
    assert renamed.classes.tolist() == sorted(names.tolist())
    order = names.argsort()
    assert_same(renamed, fit._replace(weight=fit.weight[:, order], intercept=fit.intercept[:, order]), 1e-6)
    assert torch.equal(renamed.predict(x), names[fit.predict(x)])


def test_two_classes_are_penalised_as_scikit_learn_penalises_them(features: tuple[Tensor, Tensor]) -> None:
    x, y = features
    rows = (y[0] == 3) | (y[0] == 7)
    x, y = x[:, rows], y[:, rows]
    expected = reference(x[0], y[0])
    fit = logistic_regression(x, y, tolerance=TIGHT)
    assert fit.classes.tolist() == [3, 7]
    np.testing.assert_allclose(fit.weight[0, 1] - fit.weight[0, 0], expected.coef_[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(fit.intercept[0, 1] - fit.intercept[0, 0], expected.intercept_[0], rtol=1e-5)


@pytest.mark.parametrize("C", [1.0, 1e8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_classes_that_are_separable(C: float, dtype: torch.dtype) -> None:
    source = torch.Generator().manual_seed(0)
    y = torch.arange(5).repeat(100)[None]
    x = F.one_hot(y).to(dtype) + 0.05 * torch.randn(1, 500, 5, generator=source, dtype=dtype)
    fit = logistic_regression(x, y, C)
    assert fit.converged.all()
    assert fit.iterations < 50
    assert torch.equal(fit.predict(x), y)


def test_a_bound_on_the_iterations_that_does_not_suffice(features: tuple[Tensor, Tensor]) -> None:
    x, y = features
    whole = logistic_regression(x, y)
    assert whole.converged.all()
    for bound in (1, whole.iterations - 1):
        fit = logistic_regression(x, y, max_iter=bound)
        assert fit.iterations == bound
        assert not fit.converged.any()
    assert logistic_regression(x, y, max_iter=whole.iterations).converged.all()


def test_a_start_near_the_optimum_saves_iterations_and_leads_to_it(features: tuple[Tensor, Tensor]) -> None:
    x, y = features
    x = x + 3  # so that intercepts of raw and of centred features differ
    cold = logistic_regression(x, y, tolerance=TIGHT)
    assert logistic_regression(x, y, tolerance=10 * TIGHT, start=cold).iterations == 0
    warm = logistic_regression(x, y, tolerance=TIGHT, start=logistic_regression(x, y, 0.8))
    assert warm.iterations < cold.iterations
    assert_same(warm, cold, 1e-6)


@pytest.mark.parametrize("factor", [-1.0, -10.0, 100.0])
def test_steps_that_would_overshoot_are_shortened(features: tuple[Tensor, Tensor], factor: float) -> None:
    x, y = features
    exact = logistic_regression(x, y, tolerance=TIGHT)
    # There most probabilities are 0 or 1, so that the Hessian is far too small.
    far = exact._replace(weight=factor * exact.weight, intercept=factor * exact.intercept)
    assert_same(logistic_regression(x, y, max_iter=100, tolerance=TIGHT, start=far), exact, 1e-6)


def test_the_same_call_gives_the_same_bits(features: tuple[Tensor, Tensor]) -> None:
    first, second = (logistic_regression(features[0].float(), features[1]) for _ in range(2))
    assert torch.equal(first.weight, second.weight)
    assert torch.equal(first.intercept, second.intercept)
