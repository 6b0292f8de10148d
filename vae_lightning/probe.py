"""The linear probe: how well a linear classifier reads the labels off mu."""

import logging
import warnings
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from lightning.pytorch import Callback, LightningModule, Trainer
from numpy.typing import NDArray
from torch import Tensor

from vae_lightning.checks import PROBE, InputError, check
from vae_lightning.vae import VAE

__all__ = ["Features", "LinearProbe", "ProbeResult", "encode_images", "linear_probe"]

log = logging.getLogger(__name__)


class Features(NamedTuple):
    """What a probe sees: mu, ``(N, latent_dim)``, and the labels, ``(N,)``."""

    mu: NDArray[np.floating]
    labels: NDArray[np.integer]


class ProbeResult(NamedTuple):
    """Accuracies in [0, 1] (None where there are no images), and how the fit went."""

    train_acc: float
    val_acc: float | None
    test_acc: float | None
    C: float
    converged: bool


def encode_images(vae: VAE, batches: Iterable[tuple[Tensor, Tensor]], limit: int | None = None) -> Features:
    """Encode images to mu, in eval mode and without gradients; the model's mode is left as it was found.

    Of several processes that are handed the same batches each encodes its own rows, and all get all of them.

    Arguments:
        vae: the model.
        batches: ``(images, labels)``, the images ``(..., C, H, W)`` in any batches or blocks.
        limit: stop after that many images.
    """
    modes = {module: module.training for module in vae.modules()}
    vae.eval()
    mus, labels, positions, count = [], [], [], 0
    try:
        with torch.no_grad():
            for images, targets in batches:
                images, targets = images.flatten(0, -1 - len(vae.image_shape)), targets.flatten()
                rows = vae.rows(len(targets))
                mus.append(vae.encode(images[rows].to(next(vae.parameters()))).mu.float().cpu())
                labels.append(targets[rows].cpu())
                positions.append(torch.arange(count, count + len(targets))[rows])
                count += len(targets)
                if limit is not None and count >= limit:
                    break
    finally:
        for module, mode in modes.items():
            module.training = mode
    mu, label, position = (torch.cat(part) for part in (mus, labels, positions))
    if len(position) < count:  # the rest is with the other processes
        parts: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(parts, (mu, label, position))
        mu, label, position = (torch.cat(part) for part in zip(*parts, strict=True))
        order = position.argsort()
        mu, label = mu[order], label[order]
    return Features(mu[:limit].numpy(), label[:limit].numpy())


def linear_probe(
    train: Features,
    val: Features | None = None,
    test: Features | None = None,
    C: float | Sequence[float] = 1.0,
    standardize: bool = False,
    max_iter: int = 1000,
) -> ProbeResult:
    """Fit scikit-learn's multinomial logistic regression to the training features and score it.

    Arguments:
        train: what is fitted.
        val: scored, and chooses among several ``C``; the smallest of the best.
        test: scored by the chosen classifier alone.
        C: inverse strength of the L2 penalty.
        standardize: give each dimension mean 0 and variance 1, by the statistics of the training features.
        max_iter: bound on the solver's iterations; a fit that they did not suffice for is warned of.

    Raises:
        InputError: if an argument is not what :mod:`vae_lightning.checks` allows, several ``C`` come without validation
            features, or the training labels are all the same.

    References:
        Understanding intermediate layers using linear classifier probes, Alain and Bengio, 2016
        (https://arxiv.org/abs/1610.01644).
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    check({"C": C, "standardize": standardize, "max_iter": max_iter}, PROBE)
    strengths = sorted(C) if isinstance(C, Sequence) else [C]
    if len(strengths) > 1 and val is None:
        raise InputError(f"C={list(strengths)}: several need validation images to choose by, and data.val_size is 0")
    if len(np.unique(train.labels)) < 2:
        raise InputError("the probe needs training images of at least two labels")
    best: tuple[float, float, LogisticRegression, bool] | None = None
    for strength in strengths:
        steps = [StandardScaler()] if standardize else []
        classifier = make_pipeline(*steps, LogisticRegression(C=strength, max_iter=max_iter))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ConvergenceWarning)
            classifier.fit(train.mu, train.labels)
        converged = not any(issubclass(warning.category, ConvergenceWarning) for warning in caught)
        if not converged:
            log.warning(
                "the probe with C=%g did not converge within max_iter=%d: its accuracies are of an unfinished fit; "
                "raise max_iter or standardize",
                strength,
                max_iter,
            )
        accuracy = classifier.score(*val) if val is not None else 0.0
        if best is None or accuracy > best[0]:
            best = accuracy, strength, classifier, converged
    assert best is not None
    accuracy, strength, classifier, converged = best
    return ProbeResult(
        train_acc=classifier.score(*train),
        val_acc=accuracy if val is not None else None,
        test_acc=classifier.score(*test) if test is not None else None,
        C=strength,
        converged=converged,
    )


class LinearProbe(Callback):
    """Fits :func:`linear_probe` to a model in training, and again with the test images when the Trainer tests.

    It needs a LightningDataModule whose batches are ``(images, labels)``. Accuracies are logged as ``probe/train_acc``,
    ``probe/val_acc`` and, in ``Trainer.test`` alone, ``probe/test_acc``.

    Arguments:
        every_n_epochs: in training, probe after every so many epochs; if None, only when the Trainer tests.
        C: inverse strength of the L2 penalty; of several, validation chooses.
        standardize: give each dimension of mu mean 0 and variance 1, by the statistics of the training images.
        max_train_images: fit to the first so many of the (shuffled) training images; if None, to all.
        max_iter: bound on the solver's iterations.

    Raises:
        InputError: if an argument is not what :mod:`vae_lightning.checks` allows, or the Trainer has no datamodule.
    """

    def __init__(
        self,
        every_n_epochs: int | None = None,
        C: float | Sequence[float] = 1.0,
        standardize: bool = False,
        max_train_images: int | None = None,
        max_iter: int = 1000,
    ) -> None:
        self.every_n_epochs, self.max_train_images = every_n_epochs, max_train_images
        self.fit_options = {"C": C, "standardize": standardize, "max_iter": max_iter}
        check({"every_n_epochs": every_n_epochs, "max_train_images": max_train_images, **self.fit_options}, PROBE)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if trainer.datamodule is None:  # type: ignore[attr-defined]
            raise InputError("LinearProbe needs a datamodule: pass datamodule=... to the Trainer's fit and test")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.every_n_epochs is not None and (trainer.current_epoch + 1) % self.every_n_epochs == 0:
            self._probe(trainer, pl_module, with_test=False)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._probe(trainer, pl_module, with_test=True)

    def _probe(self, trainer: Trainer, vae: LightningModule, with_test: bool) -> None:
        assert isinstance(vae, VAE), f"LinearProbe needs a VAE, and this is a {type(vae).__name__}"
        data = trainer.datamodule  # type: ignore[attr-defined]
        train = encode_images(vae, data.train_dataloader(), self.max_train_images)
        val_batches = data.val_dataloader()
        val = encode_images(vae, val_batches) if len(val_batches) else None
        test = encode_images(vae, data.test_dataloader()) if with_test else None
        # One process fits, so that all agree.
        fitted = linear_probe(train, val, test, **self.fit_options) if trainer.is_global_zero else None  # type: ignore[arg-type]
        result = trainer.strategy.broadcast(fitted)
        for name in ("train_acc", "val_acc", "test_acc"):
            accuracy = getattr(result, name)
            if accuracy is not None:
                vae.log(f"probe/{name}", torch.tensor(accuracy, dtype=torch.float64), sync_dist=False)
