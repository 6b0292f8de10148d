"""The variational autoencoder."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Self

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from vae_lightning.checks import OPTIMIZER, InputError, check
from vae_lightning.checks import VAE as RULES
from vae_lightning.networks import build_network, mlp_decoder, mlp_encoder
from vae_lightning.objectives import bernoulli_nll, gaussian_kl
from vae_lightning.streams import NormalStream, generator, seeded
from vae_lightning.targets import build

__all__ = ["ADAM", "ELBO", "VAE", "Posterior", "divergence", "evaluating", "log_position"]

ADAM: Mapping[str, Any] = {"_target_": "torch.optim.Adam", "lr": 1e-3, "fused": True}
WIDTHS = (128,)


class Posterior(NamedTuple):
    """The encoder's N(mu, diag(exp(logvar))) for each image; both ``(..., latent_dim)``."""

    mu: Tensor
    logvar: Tensor


class ELBO(NamedTuple):
    """Terms of the negative evidence lower bound, each in nats per image, ``(...)``: loss = recon + kl."""

    loss: Tensor
    recon: Tensor
    kl: Tensor

    def sums(self) -> dict[str, Tensor]:
        """Each term's sum over the last dimension, added up in double precision."""
        precision = torch.float32 if self.loss.device.type == "mps" else torch.float64  # Apple's GPUs have no double
        return {name: term.sum(-1, dtype=precision) for name, term in self._asdict().items()}


def divergence(loss: Tensor, norm: Tensor, epoch: int, step: int, lr: float) -> str:
    """What is said of a model whose loss, or whose weights' norm, is not finite; epochs are from 0."""
    return (
        f"the loss is {loss.item()} and the weights' norm {norm.item()} in epoch {epoch + 1}, by step {step}, "
        f"with optimizer.lr={lr}"
    )


def log_position(module: LightningModule) -> None:
    """Draw curves over optimiser steps; by itself Lightning would count calls of training_step."""
    module.log_dict({"step": float(module.global_step), "epoch": float(module.current_epoch)})


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Within it a module is in eval mode and nothing gets gradients; after it each part's mode is as it was found."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part, mode in modes.items():
            part.training = mode


class VAE(LightningModule):
    """A variational autoencoder with a Gaussian posterior and Bernoulli pixels.

    Images are ``(..., C, H, W)`` with values in [0, 1]; any leading dimensions are batch dimensions. In training a
    batch is ``(images, labels)``, the images ``(B, C, H, W)`` for one optimiser step or ``(S, B, C, H, W)`` for a block
    of S steps, which saves the Trainer's work between steps. Labels are not looked at.

    On several devices, with a datamodule that hands every process whole batches (an
    :class:`vae_lightning.ImageDataModule` does), each process takes its own rows of a batch and of its noise, so that
    the numbers are those of one device. With any other data a process's batches are its own, as is Lightning's way, and
    so is its noise.

    Arguments:
        latent_dim: number of latent dimensions.
        widths: hidden layers of an encoder of linear layers; such a decoder has the same in reverse.
        encoder: ``_target_``, the full name of a ``torch.nn.Module``, and its arguments, plain values; None for linear
            layers. It is made as ``Class(image_shape=..., latent_dim=..., **arguments)`` and maps images ``(B, C, H,
            W)`` to ``(B, 2 * latent_dim)``, mu and logvar side by side; other batch dimensions are made one for it.
        decoder: likewise, from ``(B, latent_dim)`` to the pixels' logits ``(B, C, H, W)``.
        image_shape: ``(C, H, W)``.
        optimizer: ``_target_``, the full name of a ``torch.optim.Optimizer``, and its arguments.
        seed: of the initial weights and of the latent noise; global generators are neither used nor changed.

    Raises:
        InputError: if an argument is not what :mod:`vae_lightning.checks` allows, or an encoder or decoder cannot be
            made or maps to another shape.

    References:
        Auto-Encoding Variational Bayes, Kingma and Welling, 2014 (https://arxiv.org/abs/1312.6114).

    Example:
        >>> vae = VAE(latent_dim=2)
        >>> images = torch.rand(16, 1, 28, 28)
        >>> vae.encode(images).mu.shape
        torch.Size([16, 2])
        >>> vae.elbo(images).loss.shape
        torch.Size([16])
    """

    def __init__(
        self,
        latent_dim: int = 20,
        widths: Sequence[int] = WIDTHS,
        encoder: Mapping[str, Any] | None = None,
        decoder: Mapping[str, Any] | None = None,
        image_shape: Sequence[int] = (1, 28, 28),
        optimizer: Mapping[str, Any] = ADAM,
        seed: int = 0,
    ) -> None:
        super().__init__()
        hyperparameters = {
            "latent_dim": latent_dim,
            "widths": widths,
            "encoder": encoder,
            "decoder": decoder,
            "image_shape": image_shape,
            "optimizer": optimizer,
            "seed": seed,
        }
        check(hyperparameters, RULES)
        if encoder is not None and decoder is not None and tuple(widths) != WIDTHS:
            raise InputError(f"widths={[*widths]}: must be {[*WIDTHS]}, as nothing is made of it beside both networks")
        check(optimizer, OPTIMIZER, "optimizer.")
        # Plain lists and dicts, so that a checkpoint can be read with weights_only=True.
        self.save_hyperparameters(
            hyperparameters
            | {"widths": [*widths], "image_shape": [*image_shape], "optimizer": {**optimizer}}
            | {"encoder": encoder and {**encoder}, "decoder": decoder and {**decoder}},
            logger=False,  # TensorBoard's HParams are for what varies in a sweep
        )
        self.automatic_optimization = False  # a block holds several steps
        self.latent_dim, self.image_shape, self.seed = latent_dim, tuple(image_shape), seed
        given: dict[str, Any] = {"image_shape": self.image_shape, "latent_dim": latent_dim}
        with seeded(seed, "initialisation"):
            self.encoder: nn.Module = (
                mlp_encoder(image_shape, widths, latent_dim)
                if encoder is None
                else build_network("encoder", encoder, self.image_shape, [2 * latent_dim], **given)
            )
            self.decoder: nn.Module = (
                mlp_decoder(latent_dim, widths[::-1], image_shape)
                if decoder is None
                else build_network("decoder", decoder, [latent_dim], self.image_shape, **given)
            )
        self.configure_optimizers()  # made once already here, so that bad arguments are refused now

    @classmethod
    def load_from_checkpoint(
        cls,
        checkpoint_path: Any,
        map_location: Any = None,
        hparams_file: Any = None,
        strict: bool | None = None,
        weights_only: bool | None = True,
        **arguments: Any,
    ) -> Self:
        """Rebuild the model from a checkpoint, without unpickling anything but tensors and plain values."""
        return super().load_from_checkpoint(
            checkpoint_path, map_location, hparams_file, strict, weights_only, **arguments
        )

    def encode(self, images: Tensor) -> Posterior:
        """The posterior of each image: ``(..., C, H, W)`` to mu and logvar, both ``(..., latent_dim)``."""
        return Posterior(*self.encoder(images).chunk(2, dim=-1))

    @staticmethod
    def reparameterize(mu: Tensor, logvar: Tensor, noise: Tensor) -> Tensor:
        """The latents mu + exp(logvar / 2) * noise, all ``(..., latent_dim)``.

        A deterministic, differentiable function of mu and logvar, for the noise ~ N(0, I) comes from outside (Kingma
        and Welling, 2014, section 2.4).
        """
        return mu + torch.exp(0.5 * logvar) * noise

    def decode(self, z: Tensor) -> Tensor:
        """Latents ``(..., latent_dim)`` to the pixels' logits ``(..., C, H, W)``; their sigmoid is the image."""
        logits: Tensor = self.decoder(z)
        return logits

    def nll(self, z: Tensor, images: Tensor) -> Tensor:
        """-log p(x|z) in nats: images ``(..., C, H, W)`` under latents ``(..., latent_dim)``, to ``(...)``."""
        return bernoulli_nll(self.decode(z), images)

    def elbo(self, images: Tensor, noise: Tensor | None = None) -> ELBO:
        """The negative evidence lower bound of each image, one latent sample each.

        Arguments:
            images: ``(..., C, H, W)``, in [0, 1].
            noise: ``(..., latent_dim)`` from N(0, I); if None, drawn from torch's global generator.
        """
        mu, logvar = self.encode(images)
        z = self.reparameterize(mu, logvar, torch.randn_like(mu) if noise is None else noise)
        recon = self.nll(z, images)
        kl = gaussian_kl(mu, logvar).sum(-1)
        return ELBO(recon + kl, recon, kl)

    def forward(self, images: Tensor) -> Tensor:
        """The same as :meth:`reconstruct`."""
        return self.reconstruct(images)

    def reconstruct(self, images: Tensor) -> Tensor:
        """Images ``(..., C, H, W)`` decoded from the mean of their posterior, in [0, 1]."""
        return self.decode(self.encode(images).mu).sigmoid()

    def sample(self, count: int, noise: Tensor | None = None) -> Tensor:
        """Images ``(count, C, H, W)`` decoded from the prior, in [0, 1].

        Arguments:
            count: how many.
            noise: ``(count, latent_dim)`` from N(0, I); if None, drawn from torch's global generator.
        """
        if noise is None:
            noise = next(self.parameters()).new_empty(count, self.latent_dim).normal_()
        return self.decode(noise).sigmoid()

    def configure_optimizers(self) -> Optimizer:
        """The optimiser over all parameters."""
        return self.build_optimizer(self.parameters())

    def build_optimizer(self, parameters: Iterable[nn.Parameter]) -> Optimizer:
        """The model's optimiser over parameters of one's own, e.g. of a copy.

        Raises:
            InputError: if ``_target_`` is not the name of a ``torch.optim.Optimizer``, or that refuses the arguments.
        """
        return build("optimizer", self.hparams["optimizer"], Optimizer, parameters)

    # Training: one optimiser step a batch.

    def on_train_epoch_start(self) -> None:
        self._train_noise = self._noise("noise", self.current_epoch)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        images, _ = batch
        optimizer = self.optimizers()
        assert isinstance(optimizer, LightningOptimizer)
        steps = []
        for x in images if images.dim() > 1 + len(self.image_shape) else images[None]:
            elbo, share = self._elbo_of_share(x, self._train_noise)
            optimizer.zero_grad()
            self.manual_backward(elbo.loss.sum() * share)
            optimizer.step()
            steps.append([term.detach() for term in elbo])
        elbo = ELBO(*map(torch.cat, zip(*steps, strict=True)))
        # Of a gradient that is not finite the loss tells only a step later, which may be after a checkpoint.
        loss, weights = elbo.loss.sum() / max(1, len(elbo.loss)), get_total_norm(self.parameters())
        if not (loss + weights).isfinite():
            lr = optimizer.param_groups[0]["lr"]
            raise FloatingPointError(divergence(loss, weights, self.current_epoch, self.global_step, lr))
        self._log_means("train", elbo)
        self.log("loss", loss, prog_bar=True, logger=False)

    def on_train_epoch_end(self) -> None:
        log_position(self)

    # Validation and test: the noise is the same in each pass, so that passes can be compared.

    def on_validation_epoch_start(self) -> None:
        self._eval_noise = self._noise("evaluation")

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._log_means("val", self._evaluate(batch))

    def on_validation_epoch_end(self) -> None:
        log_position(self)

    on_test_epoch_start = on_validation_epoch_start

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._log_means("test", self._evaluate(batch))

    on_test_epoch_end = on_validation_epoch_end

    def _evaluate(self, batch: tuple[Tensor, Tensor]) -> ELBO:
        images, _ = batch
        return self._elbo_of_share(images, self._eval_noise)[0]

    def rows(self, count: int) -> slice:
        """This process's rows of a batch of so many; all of them unless several processes are handed whole batches."""
        if not self._shares_batches:
            return slice(0, count)
        rank, processes = self.trainer.global_rank, self.trainer.world_size
        return slice(count * rank // processes, count * (rank + 1) // processes)

    @property
    def _shares_batches(self) -> bool:
        if self._trainer is None or self.trainer.world_size == 1:
            return False
        return getattr(self.trainer.datamodule, "whole_batches", False)  # type: ignore[attr-defined]

    def _elbo_of_share(self, images: Tensor, noise: NormalStream) -> tuple[ELBO, float]:
        """The ELBO of this process's rows, and the factor that makes the processes' mean of sums the batch's mean."""
        rows = self.rows(len(images))
        elbo = self.elbo(images[rows], noise.draw(len(images))[rows])
        return elbo, (self.trainer.world_size if self._shares_batches else 1) / len(images)

    def _noise(self, name: str, *indices: int) -> NormalStream:
        dtype = next(self.parameters()).dtype
        if self.trainer.world_size > 1 and not self._shares_batches:
            indices = (*indices, self.trainer.global_rank)
        return NormalStream(generator(self.seed, name, *indices), self.latent_dim, self.device, dtype)

    def _log_means(self, stage: str, elbo: ELBO) -> None:
        """Log the terms' exact means over the epoch, weighted by batch size."""
        count = len(elbo.loss)  # a process's share of a small batch may be none
        means = {f"{stage}/{name}": total / max(1, count) for name, total in elbo.sums().items()}
        # Lightning divides the sum of the processes' counts by their number in whole numbers; so it comes out even.
        weight = count * self.trainer.world_size
        self.log_dict(means, on_step=False, on_epoch=True, batch_size=weight, sync_dist=True)
