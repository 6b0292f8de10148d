"""The linear probe: how well a linear classifier reads the labels off mu."""

import logging
import math
from collections.abc import Iterable, Sequence, Sized
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.distributed as dist
from lightning.pytorch import Callback, LightningModule, Trainer
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from vae_lightning.checks import PROBE, InputError, check
from vae_lightning.logistic_regression import Fit, logistic_regression
from vae_lightning.progress import progress_bar
from vae_lightning.stack import Stack
from vae_lightning.vae import VAE, evaluating, exactly

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
    return _encode(vae, batches, limit)[0]


def _encode(
    model: VAE | Stack,
    batches: Iterable[Sequence[Tensor | Sequence[Tensor]]],
    limit: int | None = None,
    progress: bool = False,
) -> list[Features]:
    """The same for a stack's models, all at once; a VAE is a stack of one."""
    vaes = model.vaes if isinstance(model, Stack) else (model,)
    mus, labels, positions, count = [], [], [], 0
    total = limit or (len(batches) if isinstance(batches, Sized) else math.inf)
    with evaluating(model), progress_bar(total, "probe: images", shown=progress) as bar:
        for batch in batches:
            # A stack's training batches are lists; to (1 or K, N, C, H, W) and (1 or K, N).
            each, labelled = ([part] if isinstance(part, Tensor) else part for part in batch)
            images = torch.stack([own.flatten(0, -1 - len(vaes[0].image_shape)) for own in each])
            targets = torch.stack([own.flatten() for own in labelled])
            rows = vaes[0].rows(targets.shape[1])
            mus.append(model.encode(images[:, rows].to(next(model.parameters()))).mu.float().cpu())
            labels.append(targets[:, rows].cpu())
            positions.append(torch.arange(count, count + targets.shape[1])[rows])
            count += targets.shape[1]
            bar.update(targets.shape[1] if limit else 1)
            if limit is not None and count >= limit:
                break
    mu, label, position = torch.cat(mus, 1), torch.cat(labels, 1), torch.cat(positions)
    if len(position) < count:  # the rest is with the other processes
        parts: list[Any] = [None] * dist.get_world_size()
        dist.all_gather_object(parts, (mu, label, position))
        mu, label = (torch.cat(part, 1) for part in list(zip(*parts, strict=True))[:2])
        order = torch.cat([part[2] for part in parts]).argsort()
        mu, label = mu[:, order], label[:, order]
    label = label.expand(len(vaes), -1)
    return [Features(mu[k, :limit, : vae.latent_dim].numpy(), label[k, :limit].numpy()) for k, vae in enumerate(vaes)]


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

    Its optimum is that of scikit-learn's (see :func:`vae_lightning.logistic_regression.logistic_regression`).

    Arguments:
        train: what is fitted.
        val: scored, and chooses among several ``C``; the smallest of the best.
        test: scored by the chosen classifier alone.
        C: inverse strength of the L2 penalty.
        standardize: give each dimension mean 0 and variance 1, by the statistics of the training features.
        max_iter: bound on the solver's iterations; a fit that they did not suffice for is warned of.
        progress: show a bar on a terminal.

    Raises:
        InputError: if an argument is not what :mod:`vae_lightning.checks` allows, several ``C`` come without validation
            features, or the training labels are all the same.
        ValueError: if features are not finite.

    References:
        Understanding intermediate layers using linear classifier probes, Alain and Bengio, 2016
        (https://arxiv.org/abs/1610.01644).
    """
    return _probe_each([train], val and [val], test and [test], C, standardize, max_iter, progress)[0]


def _probe_each(
    train: Sequence[Features],
    val: Sequence[Features] | None,
    test: Sequence[Features] | None,
    C: float | Sequence[float],
    standardize: bool,
    max_iter: int,
    progress: bool,
) -> list[ProbeResult]:
    """The :func:`linear_probe` of each of several models, fitted side by side."""
    check({"C": C, "standardize": standardize, "max_iter": max_iter}, PROBE)
    strengths = sorted(C) if isinstance(C, Sequence) else [C]
    if len(strengths) > 1 and val is None:
        raise InputError(f"C={list(strengths)}: several need validation images to choose by, and data.val_size is 0")
    if any(len(np.unique(part.labels)) < 2 for part in train):
        raise InputError("the probe needs training images of at least two labels")
    if not all(np.isfinite(part.mu).all() for parts in (train, val, test) if parts for part in parts):
        raise ValueError("the probe's features are not finite")
    shifts, scales = [np.zeros(1)] * len(train), [np.ones(1)] * len(train)
    if standardize:
        shifts = [part.mu.mean(0, dtype=np.float64) for part in train]
        scales = [np.where(np.ptp(part.mu, 0) > 0, part.mu.std(0, dtype=np.float64), 1) for part in train]
    widest = max(part.mu.shape[1] for part in train)

    def features(parts: Sequence[Features]) -> Tensor:
        """``(K, N, widest)``, padded with zeros."""
        scaled = [
            torch.from_numpy(((part.mu - shift) / scale).astype(part.mu.dtype))
            for part, shift, scale in zip(parts, shifts, scales, strict=True)
        ]
        return torch.stack([F.pad(mu, (0, widest - mu.shape[1])) for mu in scaled])

    def accuracies(fit: Fit, parts: Sequence[Features] | None) -> list[float | None]:
        if parts is None:
            return [None] * len(train)
        predicted = fit.predict(features(parts)).numpy()
        return [float(np.mean(own == part.labels)) for own, part in zip(predicted, parts, strict=True)]

    mu, labels = features(train), torch.stack([torch.from_numpy(part.labels) for part in train])
    fits: list[Fit] = []
    with progress_bar(len(strengths), "probe", shown=progress) as bar:
        for strength in strengths:
            # Neighbouring strengths have neighbouring optima.
            fits.append(logistic_regression(mu, labels, strength, max_iter, start=fits[-1] if fits else None))
            bar.update()
            if not fits[-1].converged.all():
                log.warning(
                    "the probe with C=%g did not converge within max_iter=%d: its accuracies are of an unfinished fit; "
                    "raise max_iter or standardize",
                    strength,
                    max_iter,
                )
    scores = [[accuracies(fit, parts) for parts in (train, val, test)] for fit in fits]
    results = []
    for k in range(len(train)):
        best = max(range(len(fits)), key=lambda place, k=k: scores[place][1][k] or 0.0)  # type: ignore[misc]
        own = [part[k] for part in scores[best]]
        assert own[0] is not None
        results.append(ProbeResult(own[0], own[1], own[2], strengths[best], bool(fits[best].converged[k])))
    return results


class LinearProbe(Callback):
    """Fits :func:`linear_probe` to a model in training, and again with the test images when the Trainer tests.

    It needs a LightningDataModule whose batches are ``(images, labels)``. Accuracies are logged as ``probe/train_acc``,
    ``probe/val_acc`` and, in ``Trainer.test`` alone, ``probe/test_acc``. Of a :class:`vae_lightning.Stack` each model
    is probed: ``0/probe/train_acc`` and so on.

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

    def _probe(self, trainer: Trainer, model: LightningModule, with_test: bool) -> None:
        assert isinstance(model, VAE | Stack), f"LinearProbe needs a VAE, and this is a {type(model).__name__}"
        data = trainer.datamodule  # type: ignore[attr-defined]
        train = _encode(model, data.train_dataloader(), self.max_train_images, trainer.is_global_zero)
        val_batches = data.val_dataloader()
        val = _encode(model, val_batches) if len(val_batches) else None
        test = _encode(model, data.test_dataloader()) if with_test else None
        prefixes = {k: f"{k}/" for k in model.healthy} if isinstance(model, Stack) else {0: ""}
        features = [part and [part[k] for k in prefixes] for part in (train, val, test)]
        # One process fits, so that all agree.
        fitted = None
        if trainer.is_global_zero:
            fitted = _probe_each(*features, **self.fit_options, progress=True)  # type: ignore[arg-type,misc]
        for prefix, result in zip(prefixes.values(), trainer.strategy.broadcast(fitted), strict=True):  # type: ignore[arg-type]
            for name in ("train_acc", "val_acc", "test_acc"):
                accuracy = getattr(result, name)
                if accuracy is not None:
                    model.log(f"{prefix}probe/{name}", exactly(accuracy), sync_dist=False)
