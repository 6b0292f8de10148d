"""The variational autoencoder."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol, Self

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from vae_lightning import cpu
from vae_lightning.checks import OPTIMIZER, InputError, check
from vae_lightning.checks import VAE as RULES
from vae_lightning.estimators import Estimator
from vae_lightning.likelihoods import Likelihood
from vae_lightning.networks import build_network, mlp_decoder, mlp_encoder
from vae_lightning.objectives.draws import ELBO, Draws, added_up, gaussian_kl
from vae_lightning.objectives.negative_elbo import NegativeELBO
from vae_lightning.objectives.objective import Objective
from vae_lightning.posterior import PosteriorMoments
from vae_lightning.schedules import Schedule, scale_lr
from vae_lightning.streams import NormalStream, generator, seeded
from vae_lightning.targets import build

__all__ = ["ADAM", "VAE", "Posterior", "divergence", "draw", "evaluating", "exactly", "log_position"]

ADAM: Mapping[str, Any] = {"_target_": "torch.optim.Adam", "lr": 1e-3, "fused": True}
WIDTHS = (128,)
OBJECTIVE: Mapping[str, Any] = {"_target_": "vae_lightning.objectives.NegativeELBO"}
LIKELIHOOD: Mapping[str, Any] = {"_target_": "vae_lightning.likelihoods.Bernoulli"}
ESTIMATOR: Mapping[str, Any] = {"_target_": "vae_lightning.estimators.Reparameterization"}
SCHEDULE: Mapping[str, Any] = {"_target_": "vae_lightning.schedules.Constant"}


class Posterior(NamedTuple):
    """The encoder's N(mu, diag(exp(logvar))) for each image; both ``(..., latent_dim)``."""

    mu: Tensor
    logvar: Tensor


def divergence(loss: Tensor, norm: Tensor, epoch: int, step: int, lr: float) -> str:
    """What is said of a model whose loss, or whose weights' norm, is not finite; epochs are from 0."""
    return (
        f"the loss is {loss.item()} and the weights' norm {norm.item()} in epoch {epoch + 1}, by step {step}, "
        f"with optimizer.lr={lr}"
    )


def log_position(module: LightningModule) -> None:
    """Draw curves over optimiser steps; by itself Lightning would count calls of training_step, and draw epochs."""
    module.log("step", float(module.global_step))


def exactly(value: Any) -> Tensor:
    """Numbers in double precision, for Lightning would make them single."""
    return torch.as_tensor(value, dtype=torch.float64)


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


class _Drawn(Protocol):
    estimator: Estimator

    def encode(self, images: Tensor, /) -> Posterior: ...

    def nll(self, z: Tensor, images: Tensor, /) -> Tensor: ...


def draw(model: _Drawn, images: Tensor, noise: Tensor) -> Draws:
    """Latents for each image, and what they cost.

    Arguments:
        model: a VAE, or a stack of them.
        images: ``(..., B, C, H, W)``.
        noise: ``(S, ..., B, latent_dim)`` from N(0, I).
    """
    mu, logvar = map(_in_full, model.encode(images))
    # One sample takes no dimension of its own, for networks that know one batch dimension alone.
    single = len(noise) == 1
    z = VAE.reparameterize(mu, logvar, noise[0] if single else noise)
    if not model.estimator.reparameterized:
        z = z.detach()
    nll = model.nll(z, images)
    if single:
        z, nll = z[None], nll[None]
    return Draws(mu, logvar, gaussian_kl(mu, logvar), z, nll)


def _in_full(values: Tensor) -> Tensor:
    """What networks give in lower precision under autocast, in single precision: sums over pixels need it."""
    return values.float() if torch.is_autocast_enabled(values.device.type) else values


class VAE(LightningModule):
    """A variational autoencoder with a Gaussian posterior.

    Images are ``(..., C, H, W)`` with values in [0, 1]; any leading dimensions are batch dimensions. In training a
    batch is ``(images, labels)``, the images ``(B, C, H, W)`` for one optimiser step or ``(S, B, C, H, W)`` for a block
    of S steps, which saves the Trainer's work between steps. Labels are not looked at.

    On several devices, with a datamodule that hands every process whole batches (an
    :class:`vae_lightning.ImageDataModule` does), each process takes its own rows of a batch and of its noise, so that
    the numbers are those of one device. With any other data a process's batches are its own, as is Lightning's way, and
    so is its noise.

    Arguments:
        latent_dim: number of latent dimensions.
        widths: hidden layers of an encoder of linear layers.
        decoder_widths: hidden layers of such a decoder; None for the encoder's in reverse.
        activation: between linear layers, one of :data:`vae_lightning.networks.ACTIVATIONS`.
        encoder: ``_target_``, the full name of a ``torch.nn.Module``, and its arguments, plain values; None for linear
            layers. It is made as ``Class(image_shape=..., latent_dim=..., **arguments)`` and maps images ``(B, C, H,
            W)`` to ``(B, 2 * latent_dim)``, mu and logvar side by side; other batch dimensions are made one for it.
        decoder: likewise, from ``(B, latent_dim)`` to the pixels' logits ``(B, C, H, W)``.
        image_shape: ``(C, H, W)``.
        likelihood: ``_target_``, a :class:`vae_lightning.likelihoods.Likelihood`, and its arguments.
        objective: what training makes small: ``_target_``, a :class:`vae_lightning.objectives.Objective`, and its
            arguments. Validation and test are of the ELBO, whatever is trained.
        estimator: of the encoder's gradient: ``_target_``, a :class:`vae_lightning.estimators.Estimator`, and its
            arguments.
        optimizer: ``_target_``, the full name of a ``torch.optim.Optimizer``, and its arguments.
        schedule: the learning rate's factor at each optimiser step: ``_target_``, a
            :class:`vae_lightning.schedules.Schedule`, and its arguments.
        seed: of the initial weights and of the latent noise; global generators are neither used nor changed.

    Attributes:
        kl_by_dimension: the KL of each latent dimension in nats, ``(latent_dim,)``, the mean over the images of the
            last validation or test; None before.

    Raises:
        InputError: if an argument is not what :mod:`vae_lightning.checks` allows, an encoder or decoder cannot be made
            or maps to another shape, or the objective goes through the latents and the estimator does not.

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
        decoder_widths: Sequence[int] | None = None,
        activation: str = "relu",
        encoder: Mapping[str, Any] | None = None,
        decoder: Mapping[str, Any] | None = None,
        image_shape: Sequence[int] = (1, 28, 28),
        likelihood: Mapping[str, Any] = LIKELIHOOD,
        objective: Mapping[str, Any] = OBJECTIVE,
        estimator: Mapping[str, Any] = ESTIMATOR,
        optimizer: Mapping[str, Any] = ADAM,
        schedule: Mapping[str, Any] = SCHEDULE,
        seed: int = 0,
    ) -> None:
        super().__init__()
        hyperparameters: dict[str, Any] = {
            "latent_dim": latent_dim,
            "widths": widths,
            "decoder_widths": decoder_widths,
            "activation": activation,
            "encoder": encoder,
            "decoder": decoder,
            "image_shape": image_shape,
            "likelihood": likelihood,
            "objective": objective,
            "estimator": estimator,
            "optimizer": optimizer,
            "schedule": schedule,
            "seed": seed,
        }
        check(hyperparameters, RULES)
        if encoder is not None and decoder is not None and tuple(widths) != WIDTHS:
            raise InputError(f"widths={[*widths]}: must be {[*WIDTHS]}, as nothing is made of it beside both networks")
        if decoder is not None and decoder_widths is not None:
            raise InputError(
                f"decoder_widths={[*decoder_widths]}: must be null, as nothing is made of it beside decoder"
            )
        check(optimizer, OPTIMIZER, "optimizer.")
        # Plain lists and dicts, so that a checkpoint can be read with weights_only=True.
        plain = {
            name: {**value} if isinstance(value, Mapping) else [*value] if isinstance(value, list | tuple) else value
            for name, value in hyperparameters.items()
        }
        self.save_hyperparameters(plain, logger=False)  # TensorBoard's HParams are for what varies in a sweep
        self.automatic_optimization = False  # a block holds several steps
        self.latent_dim, self.image_shape, self.seed = latent_dim, tuple(image_shape), seed
        self.kl_by_dimension: Tensor | None = None
        self.objective = build("objective", objective, Objective)  # type: ignore[type-abstract]
        self.estimator = build("estimator", estimator, Estimator)  # type: ignore[type-abstract]
        self.schedule = build("schedule", schedule, Schedule)  # type: ignore[type-abstract]
        if self.objective.reparameterized and not self.estimator.reparameterized:
            raise InputError(
                f"estimator={estimator['_target_']}: must be Reparameterization, for the objective's gradient goes "
                "through the latents"
            )
        given: dict[str, Any] = {"image_shape": self.image_shape, "latent_dim": latent_dim}
        with seeded(seed, "initialisation"):
            self.encoder: nn.Module = (
                mlp_encoder(image_shape, widths, latent_dim, activation)
                if encoder is None
                else build_network("encoder", encoder, self.image_shape, [2 * latent_dim], **given)
            )
            self.decoder: nn.Module = (
                mlp_decoder(latent_dim, decoder_widths or widths[::-1], image_shape, activation)
                if decoder is None
                else build_network("decoder", decoder, [latent_dim], self.image_shape, **given)
            )
            self.likelihood = build("likelihood", likelihood, Likelihood)  # type: ignore[type-abstract]
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
        """Latents ``(..., latent_dim)`` to the pixels' logits ``(..., C, H, W)``: what the likelihood is of."""
        logits: Tensor = self.decoder(z)
        return logits

    def nll(self, z: Tensor, images: Tensor) -> Tensor:
        """-log p(x|z) in nats: images ``(..., C, H, W)`` under latents ``(..., latent_dim)``, to ``(...)``."""
        nll: Tensor = self.likelihood.nll(_in_full(self.decode(z)), images)
        return nll

    def elbo(self, images: Tensor, noise: Tensor | None = None) -> ELBO:
        """The negative evidence lower bound of each image, one latent sample each.

        Arguments:
            images: ``(..., C, H, W)``, in [0, 1].
            noise: ``(..., latent_dim)`` from N(0, I); if None, drawn from torch's global generator.
        """
        if noise is None:
            noise = images.new_empty(*images.shape[: -len(self.image_shape)], self.latent_dim).normal_()
        return draw(self, images, noise[None]).elbo()

    def forward(self, images: Tensor) -> Tensor:
        """The same as :meth:`reconstruct`."""
        return self.reconstruct(images)

    def reconstruct(self, images: Tensor) -> Tensor:
        """Images ``(..., C, H, W)`` decoded from the mean of their posterior, in [0, 1]."""
        return self.likelihood.mean(self.decode(self.encode(images).mu))

    def sample(self, count: int, noise: Tensor | None = None) -> Tensor:
        """Images ``(count, C, H, W)`` decoded from the prior, in [0, 1].

        Arguments:
            count: how many.
            noise: ``(count, latent_dim)`` from N(0, I); if None, drawn from torch's global generator.
        """
        if noise is None:
            noise = next(self.parameters()).new_empty(count, self.latent_dim).normal_()
        return self.likelihood.mean(self.decode(noise))

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

    def on_fit_start(self) -> None:
        if self.device.type == "cpu":
            cpu.prepare()

    def on_train_epoch_start(self) -> None:
        self._train_noise = self._noise("noise", self.current_epoch)
        self._sums: dict[str, Tensor] = {}
        self._count = 0

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        images, _ = batch
        optimizer = self.optimizers()
        assert isinstance(optimizer, LightningOptimizer)
        steps = []
        for x in images if images.dim() > 1 + len(self.image_shape) else images[None]:
            draws, share = self._draw_share(x, self._train_noise, self.objective.samples)
            objective = self.estimator.loss(self.objective(draws, self.global_step), draws)
            optimizer.zero_grad()
            self.manual_backward(objective.sum() * share)
            scale_lr([optimizer.optimizer], self.schedule(self.global_step))
            optimizer.step()
            steps.append((objective.detach(), draws.nll.detach(), draws.kl.detach()))
        objectives, nlls, kls = zip(*steps, strict=True)
        objective, elbo = torch.cat(objectives, -1), ELBO.of(torch.cat(nlls, -1), torch.cat(kls, -2))
        # Of a gradient that is not finite the objective tells only a step later, which may be after a checkpoint.
        loss, weights = objective.sum() / max(1, len(objective)), get_total_norm(self.parameters())
        if not (loss + weights).isfinite():
            lr = optimizer.param_groups[0]["lr"]
            raise FloatingPointError(divergence(loss, weights, self.current_epoch, self.global_step, lr))
        sums = elbo.sums()
        if type(self.objective) is not NegativeELBO:  # which is train/loss
            sums["objective"] = added_up(objective)
        # Of the last step alone, and after it, when mixed precision has taken its factor out.
        norm = get_total_norm([weight.grad for weight in self.parameters() if weight.grad is not None])
        sums["gradient_norm"] = norm * len(objective)
        # Told once an epoch, for Lightning takes a fifth of a millisecond for each number.
        self._sums = {name: total + self._sums.get(name, 0) for name, total in sums.items()}
        self._count += len(objective)
        if self.trainer.is_last_batch:
            self._log_means("train", self._sums, self._count)
            self.log("train/lr", exactly(optimizer.param_groups[0]["lr"]), on_step=False, on_epoch=True, batch_size=1)
        self.log("loss", loss, prog_bar=True, logger=False)

    def on_train_epoch_end(self) -> None:
        log_position(self)

    # Validation and test: the noise is the same in each pass, so that passes can be compared.

    def on_validation_epoch_start(self) -> None:
        self._eval_noise = self._noise("evaluation")
        self._posteriors = PosteriorMoments()

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._evaluate("val", batch)

    def on_validation_epoch_end(self) -> None:
        self.kl_by_dimension, active = self._posteriors.result()
        stage = "test" if self.trainer.testing else "val"
        self.log(f"{stage}/active_units", active.sum().double(), sync_dist=False)
        log_position(self)

    on_test_epoch_start = on_validation_epoch_start

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._evaluate("test", batch)

    on_test_epoch_end = on_validation_epoch_end

    def _evaluate(self, stage: str, batch: tuple[Tensor, Tensor]) -> None:
        images, _ = batch
        draws = self._draw_share(images, self._eval_noise, samples=1)[0]
        self._posteriors.add(draws.mu, draws.kl)
        elbo = draws.elbo()
        self._log_means(stage, elbo.sums(), len(elbo.loss))

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

    def _draw_share(self, images: Tensor, noise: NormalStream, samples: int) -> tuple[Draws, float]:
        """Draws for this process's rows, and the factor that makes the processes' mean of sums the batch's mean."""
        count, rows = len(images), self.rows(len(images))
        draws = draw(self, images[rows], noise.draw(samples * count).view(samples, count, -1)[:, rows])
        return draws, (self.trainer.world_size if self._shares_batches else 1) / count

    def _noise(self, name: str, *indices: int) -> NormalStream:
        dtype = next(self.parameters()).dtype
        if self.trainer.world_size > 1 and not self._shares_batches:
            indices = (*indices, self.trainer.global_rank)
        return NormalStream(generator(self.seed, name, *indices), self.latent_dim, self.device, dtype)

    def _log_means(self, stage: str, sums: Mapping[str, Tensor], count: int) -> None:
        """Log exact means over the epoch, weighted by batch size."""
        # A process's share of a small batch may be none.
        means = {f"{stage}/{name}": total / max(1, count) for name, total in sums.items()}
        # Lightning divides the sum of the processes' counts by their number in whole numbers; so it comes out even.
        weight = count * self.trainer.world_size
        self.log_dict(means, on_step=False, on_epoch=True, batch_size=weight, sync_dist=True)
