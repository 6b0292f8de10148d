"""Bias and variance of the encoder's gradient during training."""

from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from vae_lightning.config.arguments import checked
from vae_lightning.config.errors import InputError
from vae_lightning.estimators.reparameterization import Reparameterization
from vae_lightning.evaluation.gradient_error import encoder_gradients, gradient_error
from vae_lightning.models.vae import VAE
from vae_lightning.precision import in_double_precision
from vae_lightning.streams import generator

__all__ = ["GradientStatistics"]


class GradientStatistics(Callback):
    """Logs the error of the encoder's gradient as ``gradient/bias``, ``noise``, ``variance`` and ``norm``.

    The gradient of the model's objective is estimated on the same images each time, with the model's estimator and in
    the model's precision; the reference is the reparameterised gradient in double precision, by default with the
    model's own posterior. See
    :class:`vae_lightning.evaluation.gradient_error.GradientError`.

    Arguments:
        every_n_epochs: epochs between two measurements.
        images: number of images, the first of the (shuffled) training images.
        estimates: number of gradients drawn from the model's estimator.
        references: number of gradients drawn from the reference estimator.
        reference_posterior: ``_target_``, a :class:`vae_lightning.posteriors.Posterior` of the same parameters, and its
            arguments: the reference's, to find the bias of a posterior's own samples; None for the model's.

    Raises:
        InputError: if an argument breaks its rule (:mod:`vae_lightning.callbacks.rules`), or the Trainer has no
            datamodule.
    """

    @checked
    def __init__(
        self,
        every_n_epochs: int = 1,
        images: int = 64,
        estimates: int = 1000,
        references: int = 500,
        reference_posterior: Mapping[str, Any] | None = None,
    ) -> None:
        self.every_n_epochs, self.images = every_n_epochs, images
        self.estimates, self.references, self.reference_posterior = estimates, references, reference_posterior

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if trainer.datamodule is None:  # type: ignore[attr-defined]
            raise InputError("GradientStatistics needs a datamodule: pass datamodule=... to the Trainer's fit")

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if (trainer.current_epoch + 1) % self.every_n_epochs:
            return
        assert isinstance(pl_module, VAE), (
            f"GradientStatistics needs a VAE, but the model is a {type(pl_module).__name__}"
        )
        images = self._first_images(trainer.datamodule, pl_module)  # type: ignore[attr-defined]
        posterior = self.reference_posterior or pl_module.hparams["posterior"]
        reference = type(pl_module)(**{**pl_module.hparams, "posterior": posterior}).to(pl_module.device)
        reference.load_state_dict(pl_module.state_dict())
        reference.double().estimator = Reparameterization()
        reference.posterior.step = pl_module.posterior.step
        step = trainer.global_step
        with torch.enable_grad():  # the Trainer calls this hook with gradients disabled
            error = gradient_error(
                *(
                    encoder_gradients(
                        vae, images, count, generator(vae.seed, "gradient", trainer.current_epoch, place), step
                    )
                    for place, (vae, count) in enumerate([(pl_module, self.estimates), (reference, self.references)])
                )
            )
        for name, value in error._asdict().items():
            pl_module.log(f"gradient/{name}", in_double_precision(value), sync_dist=False)

    def _first_images(self, data: object, vae: VAE) -> Tensor:
        parts, count = [], 0
        for batch in data.train_dataloader():  # type: ignore[attr-defined]
            images = vae.examples(batch)
            parts.append(images.flatten(0, -1 - len(vae.image_shape)))
            count += len(parts[-1])
            if count >= self.images:
                break
        return torch.cat(parts)[: self.images].to(vae.device)
