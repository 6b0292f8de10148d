"""The decoder's first bias, from the mean of the training images."""

from collections.abc import Iterable
from math import prod
from typing import Any

import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from torch import Tensor, nn

from vae_lightning.config.errors import InputError
from vae_lightning.data.image_data_module import ImageDataModule
from vae_lightning.data.stack_data import StackData
from vae_lightning.likelihoods.likelihood import Likelihood
from vae_lightning.models.batch import images_of
from vae_lightning.models.batched_linear import BatchedLinear
from vae_lightning.models.stack import Stack
from vae_lightning.models.vae import VAE

__all__ = ["DecoderBias"]

# Bounds of the mean, which keep the bias of a pixel that is always black, or always white, finite.
LOWEST, HIGHEST = 0.001, 0.999


class DecoderBias(Callback):
    r"""Begins training with the log-odds of the mean training image as the bias of the decoder's last layer.

    .. math:: b = \log \frac{\bar{x}}{1 - \bar{x}}, \qquad \bar{x} \text{ clamped to } [0.001, 0.999]

    The decoder need not learn first which pixels are mostly white. Training that resumes keeps its weights. All models
    of a :class:`vae_lightning.models.Stack` begin with the same bias. The images are binarised as for the probe if
    ``data.binarisation`` says so.

    Raises:
        InputError: in ``Trainer.fit``, if the model is no VAE, its decoder does not end in a linear layer with a bias
            for each pixel, its likelihood's mean is not the sigmoid of the logits, or the Trainer has no datamodule.

    References:
        On the quantitative analysis of deep belief networks, Salakhutdinov and Murray, 2008
        (https://doi.org/10.1145/1390156.1390266). DisARM: An Antithetic Gradient Estimator for Binary Latent Variables,
        Dong, Mnih and Tucker, 2020 (https://arxiv.org/abs/2006.10680), in whose published code this is a flag.
    """

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        if trainer.datamodule is None:  # type: ignore[attr-defined]
            raise InputError("DecoderBias needs a datamodule: pass datamodule=... to the Trainer's fit")
        likelihood = _model(pl_module).likelihood
        if type(likelihood).mean is not Likelihood.mean:
            raise InputError(
                f"likelihood={type(likelihood).__name__}: must be another, because DecoderBias needs one whose mean is "
                "the sigmoid of the logits"
            )
        _last_bias(pl_module)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.global_step:
            return
        bias = _last_bias(pl_module)
        mean = _mean(_batches(trainer.datamodule), _model(pl_module).image_shape)  # type: ignore[attr-defined]
        mean = trainer.strategy.broadcast(mean)  # the order of a custom datamodule may differ between processes
        with torch.no_grad():
            bias.copy_(mean.clamp(LOWEST, HIGHEST).logit())


def _model(module: LightningModule) -> VAE:
    model = module.model if isinstance(module, Stack) else module
    if not isinstance(model, VAE):
        raise InputError(f"DecoderBias needs a VAE, but the model is a {type(model).__name__}")
    return model


def _last_bias(module: LightningModule) -> Tensor:
    """Return the bias of the decoder's last layer, ``(pixels,)``, or ``(K, pixels)`` in a stack."""
    model = _model(module)
    last = [layer for layer in model.decoder.modules() if next(layer.parameters(recurse=False), None) is not None][-1:]
    bias = last[0].bias if last and isinstance(last[0], nn.Linear | BatchedLinear) else None
    if bias is None or bias.shape[-1] != prod(model.image_shape):
        raise InputError(
            "decoder: must be null, or end in a linear layer with a bias for each pixel, because of DecoderBias"
        )
    return bias


def _batches(data: LightningDataModule) -> Iterable[Any]:
    """Return batches of all training images, for our data modules in an order that does not depend on the seed."""
    if isinstance(data, StackData):
        data = data.data
    if isinstance(data, ImageDataModule):
        assert data.train is not None, "the Trainer has called setup"
        return data.ordered_dataloader(data.train)
    return data.train_dataloader()  # type: ignore[no-any-return]


def _mean(batches: Iterable[Any], image_shape: tuple[int, ...]) -> Tensor:
    """Return the mean of each pixel in double precision, ``(pixels,)``."""
    total, count = torch.zeros(()), 0
    for batch in batches:
        images = images_of(batch, image_shape).flatten(-3).flatten(0, -2)
        total, count = total + images.sum(0, dtype=torch.double).cpu(), count + len(images)
    return total / count
