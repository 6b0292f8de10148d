"""The linear probe: how well a linear classifier predicts the labels from mu."""

import logging
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vae_lightning.config.arguments import checked
from vae_lightning.config.errors import InputError
from vae_lightning.evaluation.features import Features
from vae_lightning.evaluation.logistic_regression import Fit, logistic_regression
from vae_lightning.progress_bar import progress_bar

__all__ = ["ProbeResult", "linear_probe", "probe_each"]

log = logging.getLogger(__name__)


class ProbeResult(NamedTuple):
    """Accuracies in [0, 1] (None where there are no images), the chosen ``C``, and whether its fit converged."""

    train_acc: float
    val_acc: float | None
    test_acc: float | None
    C: float
    converged: bool


@checked
def linear_probe(
    train: Features,
    val: Features | None = None,
    test: Features | None = None,
    C: float | Sequence[float] = 1.0,
    standardize: bool = False,
    max_iter: int = 1000,
    progress: bool = False,
) -> ProbeResult:
    """Fit a multinomial logistic regression to the training features and score it.

    The optimum is that of scikit-learn (see :func:`vae_lightning.evaluation.logistic_regression.logistic_regression`).

    Arguments:
        train: features for the fit.
        val: features for scoring, and for choosing among several values of ``C``: the smallest of the best ones.
        test: features on which only the chosen classifier is scored.
        C: inverse strength of the L2 penalty.
        standardize: give each dimension mean 0 and variance 1, by the statistics of the training features.
        max_iter: maximum number of solver iterations; a fit that has not converged by then is logged as a warning.
        progress: show a progress bar on a terminal.

    Raises:
        InputError: if an argument breaks its rule (:mod:`vae_lightning.evaluation.rules`), several values of ``C`` come
            without validation features, or the training labels are all the same.
        ValueError: if features are not finite.

    References:
        Understanding intermediate layers using linear classifier probes, Alain and Bengio, 2016
        (https://arxiv.org/abs/1610.01644).
    """
    return probe_each([train], val and [val], test and [test], C, standardize, max_iter, progress)[0]


def probe_each(
    train: Sequence[Features],
    val: Sequence[Features] | None,
    test: Sequence[Features] | None,
    C: float | Sequence[float],
    standardize: bool,
    max_iter: int,
    progress: bool,
) -> list[ProbeResult]:
    """Fit the :func:`linear_probe` of each of several models at once."""
    strengths = sorted(C) if isinstance(C, Sequence) else [C]
    if len(strengths) > 1 and val is None:
        raise InputError(
            f"C={list(strengths)}: must be a single value, because there are no validation images (data.val_size=0)"
        )
    if any(len(np.unique(part.labels)) < 2 for part in train):
        raise InputError("the probe needs training images with at least two different labels")
    for name, parts in (("validation", val), ("test", test)):
        unseen = sorted({label for k, part in enumerate(parts or ()) for label in {*part.labels} - {*train[k].labels}})
        if unseen:
            log.warning(
                "the probe cannot predict the %s labels %s, which no training image has",
                name,
                ", ".join(map(str, unseen)),
            )
    if not all(np.isfinite(part.mu).all() for parts in (train, val, test) if parts for part in parts):
        raise ValueError("the probe's features are not finite")
    shifts, scales = [np.zeros(1)] * len(train), [np.ones(1)] * len(train)
    if standardize:
        shifts = [part.mu.mean(0, dtype=np.float64) for part in train]
        scales = [np.where(np.ptp(part.mu, 0) > 0, part.mu.std(0, dtype=np.float64), 1) for part in train]
    widest = max(part.mu.shape[1] for part in train)

    def features(parts: Sequence[Features]) -> Tensor:
        """Return features ``(K, N, widest)``, padded with zeros."""
        scaled = [
            torch.from_numpy(((part.mu - shift) / scale).astype(part.mu.dtype))
            for part, shift, scale in zip(parts, shifts, scales, strict=True)
        ]
        return torch.stack([F.pad(mu, (0, widest - mu.shape[1])) for mu in scaled])

    def accuracies(fit: Fit, parts: Sequence[Features] | None) -> list[float | None]:
        if parts is None:
            return [None] * len(train)
        predicted = fit.predict(features(parts)).numpy()
        return [float(np.mean(guesses == part.labels)) for guesses, part in zip(predicted, parts, strict=True)]

    mu, labels = features(train), torch.stack([torch.from_numpy(part.labels) for part in train])
    fits: list[Fit] = []
    with progress_bar(len(strengths), "probe", shown=progress) as bar:
        for strength in strengths:
            # Start from the previous fit, because neighbouring strengths have neighbouring optima.
            fits.append(logistic_regression(mu, labels, strength, max_iter, start=fits[-1] if fits else None))
            bar.update()
            if not fits[-1].converged.all():
                log.warning(
                    "the probe with C=%g did not converge within max_iter=%d: its accuracies are those of an "
                    "unfinished fit; raise max_iter or standardize",
                    strength,
                    max_iter,
                )
    scores = [[accuracies(fit, parts) for parts in (train, val, test)] for fit in fits]
    results = []
    for k in range(len(train)):
        best = max(range(len(fits)), key=lambda place, k=k: scores[place][1][k] or 0.0)  # type: ignore[misc]
        train_acc, val_acc, test_acc = [part[k] for part in scores[best]]
        assert train_acc is not None
        results.append(ProbeResult(train_acc, val_acc, test_acc, strengths[best], bool(fits[best].converged[k])))
    return results
