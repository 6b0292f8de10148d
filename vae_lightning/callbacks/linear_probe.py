"""The linear probe as a callback."""

import logging
from collections.abc import Sequence

from lightning.pytorch import Callback, LightningModule, Trainer

from vae_lightning.config.arguments import checked
from vae_lightning.config.errors import InputError, one_line
from vae_lightning.data.selection import validation_batches
from vae_lightning.evaluation.features import encode_each
from vae_lightning.evaluation.probe import ProbeResult, probe_each
from vae_lightning.models.stack import Stack
from vae_lightning.models.vae import VAE
from vae_lightning.precision import in_double_precision

__all__ = ["LinearProbe"]

log = logging.getLogger(__name__)


class LinearProbe(Callback):
    """Fits a linear probe during training, and again with the test images when the Trainer tests.

    The probe is :func:`vae_lightning.evaluation.probe.linear_probe`. It needs a LightningDataModule whose batches are
    ``(images, labels)``. Accuracies are logged as ``probe/train_acc``, ``probe/val_acc`` and, only in ``Trainer.test``,
    ``probe/test_acc``. Each model of a :class:`vae_lightning.models.Stack` is probed: ``0/probe/train_acc`` and so on.
    If there are no labels, all training labels are the same, or the fit fails, a warning says so, and nothing is
    logged.

    Arguments:
        every_n_epochs: epochs between two fits during training; if None, the probe is fitted only when the Trainer
            tests.
        C: inverse strength of the L2 penalty; if there are several, validation chooses one.
        standardize: scale each dimension of mu to mean 0 and variance 1, with the statistics of the training images.
        max_train_images: the probe is fitted to at most this many of the (shuffled) training images, the first ones; if
            None, to all.
        max_iter: upper bound on the solver's iterations.

    Raises:
        InputError: if an argument breaks its rule (:mod:`vae_lightning.callbacks.rules`), or the Trainer has no
            datamodule.
    """

    @checked
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

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if trainer.datamodule is None:  # type: ignore[attr-defined]
            raise InputError("LinearProbe needs a datamodule: pass datamodule=... to the Trainer's fit and test")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.every_n_epochs is not None and (trainer.current_epoch + 1) % self.every_n_epochs == 0:
            self._probe(trainer, pl_module, with_test=False)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._probe(trainer, pl_module, with_test=True)

    def _probe(self, trainer: Trainer, model: LightningModule, with_test: bool) -> None:
        assert isinstance(model, VAE | Stack), f"LinearProbe needs a VAE, but the model is a {type(model).__name__}"
        data = trainer.datamodule  # type: ignore[attr-defined]
        try:
            train = encode_each(model, data.train_dataloader(), self.max_train_images, trainer.is_global_zero)
            val_batches = validation_batches(data)
            val = encode_each(model, val_batches) if len(val_batches) else None
            test = encode_each(model, data.test_dataloader()) if with_test else None
        except InputError as error:  # no labels, in any process
            log.warning("the probe is left out: %s", error)
            return
        prefixes = {k: f"{model.places[k]}/" for k in model.healthy} if isinstance(model, Stack) else {0: ""}
        features = [part and [part[k] for k in prefixes] for part in (train, val, test)]
        # Fit in one process and broadcast the result, so that all processes agree.
        fitted: list[ProbeResult] | None = None
        if trainer.is_global_zero:
            try:
                fitted = probe_each(*features, **self.fit_options, progress=True)  # type: ignore[arg-type,misc]
            except Exception as error:  # the run is complete without a probe, and its other numbers are right
                log.warning("the probe is left out: %s", one_line(error))
        results = trainer.strategy.broadcast(fitted)
        if results is None:
            return
        for prefix, result in zip(prefixes.values(), results, strict=True):
            for name in ("train_acc", "val_acc", "test_acc"):
                accuracy = getattr(result, name)
                if accuracy is not None:
                    model.log(f"{prefix}probe/{name}", in_double_precision(accuracy), sync_dist=False)
