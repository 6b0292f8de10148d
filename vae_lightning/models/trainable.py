"""What a VAE and a stack of them share: the training step, its two drivers, and evaluation."""

import logging
import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer

from vae_lightning import cpu
from vae_lightning.config.errors import InputError, one_line
from vae_lightning.estimators.estimator import Estimator
from vae_lightning.likelihoods.likelihood import Likelihood
from vae_lightning.models.batch import images_of
from vae_lightning.models.compiler import check_compiler
from vae_lightning.models.draw import PLAIN, draw
from vae_lightning.models.plain_steps import steps_are_plain
from vae_lightning.objectives.draws import ELBO, Draws
from vae_lightning.objectives.elbo import NegativeELBO
from vae_lightning.objectives.objective import Objective
from vae_lightning.posteriors.distribution import Distribution
from vae_lightning.posteriors.posterior import Posterior
from vae_lightning.posteriors.statistics import PosteriorMoments
from vae_lightning.precision import in_double_precision, sum_in_double
from vae_lightning.schedules.constant import Constant
from vae_lightning.schedules.learning_rate import ScheduledLR
from vae_lightning.schedules.schedule import Schedule

__all__ = ["Trainable"]

log = logging.getLogger(__name__)

# Number of batches whose terms are added up together, once the last of them has been trained on. Only then is the norm
# of the gradient computed, and divergence detected.
WINDOW = 16


class Trainable(LightningModule):
    """The base class of models that train with an objective and a gradient estimator.

    Two drivers take the same steps, with the same bits. With a batch per optimiser step, Lightning's automatic
    optimisation takes the step, so that everything that looks between steps sees each of them. With blocks of batches
    (:class:`vae_lightning.ImageDataModule`, ``block_size``), :meth:`training_step` takes one step per batch of the
    block, which saves the Trainer's work between them.
    """

    objective: Objective
    estimator: Estimator
    schedule: Schedule
    posterior: Posterior
    likelihood: Likelihood
    image_shape: tuple[int, ...]

    def __init__(self) -> None:
        super().__init__()
        # How the step is compiled, None if it is not; the compiled function, and the shape of the noise that it takes.
        self._compile_mode: str | None = None
        self._compiled: Callable[..., tuple[Tensor, Tensor, Tensor]] | None = None
        self._compiled_shape: torch.Size | None = None
        # The terms of the batches since the last sum, and the sums since the last log.
        self._window: list[tuple[Tensor, Tensor, Tensor]] = []
        self._sums: dict[str, Tensor] = {}
        self._count = 0

    # What differs between one model and a stack.

    @abstractmethod
    def examples(self, batch: Any) -> Tensor:
        """Return the images of a batch, with their labels if the model sees them."""

    @abstractmethod
    def pixels(self, images: Tensor) -> Tensor:
        """Return the images without the labels that they may carry."""

    @abstractmethod
    def encode(self, images: Tensor) -> Distribution:
        """Return the posterior of each image."""

    @abstractmethod
    def prior_distribution(self) -> Distribution:
        """Return the prior."""

    @abstractmethod
    def nll(self, z: Tensor, images: Tensor) -> Tensor:
        """Return -log p(x|z) of each image in nats."""

    @abstractmethod
    def _steps(self, batch: Any, batch_idx: int) -> Sequence[tuple[Any, Tensor, int]]:
        """Return the images, the noise and the batch size of each optimiser step in a training batch or block."""

    @abstractmethod
    def _evaluation_draws(self, images: Tensor) -> Draws:
        """Return one draw for each image of a validation or test batch."""

    @abstractmethod
    def _noise(self, name: str, *indices: int) -> Any:
        """Return the stream of latent noise, or one per model."""

    @abstractmethod
    def _check_divergence(self, losses: Tensor) -> None:
        """Look for losses and weights that are not finite.

        Arguments:
            losses: the mean of each model's objective over the last window, ``(...)``.
        """

    @abstractmethod
    def _gradient_norm(self) -> Tensor:
        """Return the norm of each model's gradient, ``(...)``."""

    @abstractmethod
    def _learning_rates(self) -> Any:
        """Return the learning rate of the model, or one per model."""

    @abstractmethod
    def _store_kl(self, kl: Tensor) -> None:
        """Store the mean KL, ``(..., latent_dim)`` or ``(..., 1)``."""

    @abstractmethod
    def _named(self, name: str, values: Tensor) -> dict[str, Tensor]:
        """Return the value of each model, ``(...)``, by the name under which it is logged."""

    # Training.

    def compile_step(self, thorough: bool = False) -> None:
        """Let the next fits compile their training step, forward and backward, with ``torch.compile``.

        The results differ from those without by rounding alone. The batches of one size are compiled; an epoch's last,
        shorter batch is not. On a GPU, the step becomes a CUDA graph. ``Trainer.fit`` raises an InputError if there is
        no compiler, or it cannot handle the model.

        Arguments:
            thorough: whether the compiler searches for the fastest kernels, which takes minutes.
        """
        self._compile_mode = "max-autotune" if thorough else "default"

    @property
    def automatic_optimization(self) -> bool:
        """Whether Lightning takes the optimiser steps; otherwise, batches are blocks."""
        data: Any = getattr(self._trainer, "datamodule", None)
        if not self._automatic_optimization or not hasattr(data, "steps_per_batch"):
            return self._automatic_optimization
        return bool(data.steps_per_batch(self.trainer, self) == 1)

    @automatic_optimization.setter
    def automatic_optimization(self, automatic_optimization: bool) -> None:
        self._automatic_optimization = automatic_optimization

    def _scheduled(self, optimizer: Optimizer) -> Any:
        """Return an optimiser and the schedule of its learning rate, in the form that Lightning expects."""
        if type(self.schedule) is Constant:
            return optimizer
        scheduler = ScheduledLR(optimizer, self.schedule)
        # Without automatic optimisation, Lightning warns that it ignores the interval.
        interval = {"interval": "step"} if self.automatic_optimization else {}
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, **interval}}

    def on_fit_start(self) -> None:
        if self.device.type == "cpu":
            cpu.prepare()
        if self._compile_mode is not None:
            check_compiler(self.device.type)
            self._compile()

    def _compile(self) -> None:
        """Let the next step compile itself, and with it all of its size that follow."""
        from torch._inductor import list_mode_options  # takes a second

        torch.compiler.reset()  # the number of models for which a process may compile the same code is limited
        graph = self.device.type == "cuda" and self._compile_mode == "default"
        options = list_mode_options("reduce-overhead" if graph else self._compile_mode)
        if not self.automatic_optimization:
            # Nothing else changes the model within a fit, so it need not be compared with what was compiled.
            options["guard_filter_fn"] = torch.compiler.skip_guard_on_all_nn_modules_unsafe
        self._compiled = torch.compile(self._terms, fullgraph=True, options=options)
        self._compiled_shape = None

    def on_fit_end(self) -> None:
        self._compiled = None  # it would not be copied with the model

    def on_train_start(self) -> None:
        # Lightning's monitors log at this count of batches; with blocks, it would not be one of steps.
        self.trainer.fit_loop.epoch_loop._batches_that_stepped = self.global_step
        self.posterior.step = self.global_step
        ends, steps = self.schedule.total_steps, self._total_steps()
        if ends is not None and ends < steps and self.trainer.is_global_zero:
            factor = self.schedule(ends)
            log.info(
                "the schedule ends at step %d of %.0f: from then on, the learning rate's factor is %g",
                ends,
                steps,
                factor,
            )

    def _total_steps(self) -> float:
        """Return the number of optimiser steps at which training ends, unless something stops it before."""
        trainer = self.trainer
        batches = trainer.num_training_batches
        if not self.automatic_optimization:
            sampler: Any = trainer.train_dataloader.sampler  # type: ignore[union-attr]
            batches = sampler.batches
        steps = math.inf if trainer.max_epochs in (None, -1) else trainer.max_epochs * batches
        steps /= trainer.accumulate_grad_batches
        return min(steps, trainer.max_steps) if trainer.max_steps >= 0 else steps

    def on_train_epoch_start(self) -> None:
        self._train_noise = self._noise("noise", self.current_epoch)
        self._window, self._sums, self._count = [], {}, 0

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Take one optimiser step per batch of a block, or return the loss of one batch, for Lightning's step."""
        steps = self._steps(batch, batch_idx)
        if not self.automatic_optimization:
            loss = self._take_steps(steps)
        elif len(steps) == 1:
            loss = self._loss(*steps[0])
        else:
            raise InputError("training batches are blocks: pass the datamodule to Trainer.fit, not its dataloader")
        # Of the last step; the mean of a stack's models that have not diverged.
        self.log("loss", self._objective.mean(-1).nanmean(), prog_bar=True, logger=False)
        return loss

    def _take_steps(self, steps: Sequence[tuple[Any, Tensor, int]]) -> Tensor:
        loop = self.trainer.fit_loop.epoch_loop
        direct = steps_are_plain(self.trainer)
        optimizer: Any = self.optimizers(use_pl_optimizer=not direct)
        scheduler: Any = self.lr_schedulers()
        if self.trainer.max_steps >= 0:
            steps = steps[: self.trainer.max_steps - self.global_step]
        weights = [*self.parameters()]
        for step in steps:
            loss = self._loss(*step)
            if direct:
                for weight in weights:
                    weight.grad = None
                loss.backward()
                loop.manual_optimization._on_before_step()
                optimizer.step()
                loop.manual_optimization._on_after_step()
            else:
                optimizer.zero_grad()
                self.manual_backward(loss)
                optimizer.step()
            if scheduler is not None:
                scheduler.step()
            self._end_step()
        loop._batches_that_stepped += len(steps) - 1
        return loss.detach()

    def _loss(self, images: Any, noise: Tensor, count: int) -> Tensor:
        """Return the number whose gradient a step follows.

        Arguments:
            images: of this process.
            noise: that of their latents.
            count: number of images in the batch, over all processes.
        """
        objective, nll, kl = self._step_terms(images, noise)
        self._objective = objective.detach()
        self._window.append((self._objective, nll.detach(), kl.detach()))
        self._rates = self._learning_rates()  # before a schedule sets that of the next step
        # The mean over processes of their totals is the mean over the batch. The models of a stack share no weights, so
        # the gradient of their sum is that of each model.
        return objective.sum() * ((self.trainer.world_size if self._shares_batches else 1) / count)

    def _step_terms(self, images: Any, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if self._compiled is None or self._compiled_shape not in (None, noise.shape):
            return self._terms(images, noise, self.global_step)
        first, self._compiled_shape = self._compiled_shape is None, noise.shape
        try:
            objective, nll, kl = self._compiled(images, noise, self.global_step)
        except Exception as error:  # the compiler's errors have no base class in common
            if not first:
                raise
            raise InputError(
                f"compile: must be false, because the step cannot be compiled: {one_line(error)}"
            ) from error
        if noise.device.type == "cuda":
            # A CUDA graph writes its results to the same memory each time.
            return objective.clone(), nll.clone(), kl.clone()
        return objective, nll, kl

    def _terms(self, images: Any, noise: Tensor, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return the objective, the negative log-likelihood and the KL of each image."""
        self.posterior.step = step  # here, because torch.compile takes attributes that are set elsewhere for constants
        draws = self._draws(images, noise, self.estimator)
        objective = self.estimator.loss(partial(self.objective, step=step), draws)
        return objective, draws.mean_nll(), draws.mean_kl()

    @property
    def noise_rows(self) -> int:
        """The number of rows of noise that an image takes in training."""
        return self.objective.samples * self.estimator.rows

    def _own_weights(self) -> list[nn.Parameter]:
        """Return the weights that follow the objective; those of the estimator have losses of their own."""
        others = {id(weight) for weight in self.estimator.parameters()}
        return [weight for weight in self.parameters() if id(weight) not in others]

    @property
    def _shares_batches(self) -> bool:
        if self._trainer is None or self.trainer.world_size == 1:
            return False
        return getattr(self.trainer.datamodule, "whole_batches", False)  # type: ignore[attr-defined]

    def _draws(self, images: Any, noise: Tensor, estimator: Estimator = PLAIN) -> Draws:
        return draw(self, images, noise, estimator=estimator)

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        self._end_step()
        if self._epoch_may_end(batch_idx):
            self._close_window()
            self._log_epoch()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # A checkpoint within an epoch must not store weights that have diverged.
        if self._trainer is not None and self.trainer.training:
            self._close_window()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Let either driver resume, because each counts its own steps; earlier versions stored no schedule."""
        step, loops = checkpoint["global_step"], checkpoint.get("loops", {}).get("fit_loop")
        if loops:
            automatic = loops["epoch_loop.automatic_optimization.optim_progress"]["optimizer"]["step"]
            manual = loops["epoch_loop.manual_optimization.optim_step_progress"]
            (automatic if self.automatic_optimization else manual)["total"] |= {"ready": step, "completed": step}
        if checkpoint.get("lr_schedulers") == []:
            checkpoint["lr_schedulers"] = [{"last_epoch": step}]
        # EarlyStopping may have put the weights of an earlier step back.
        self.posterior.step = checkpoint.get("restored", {}).get("step", step)

    def _end_step(self) -> None:
        self.posterior.step = self.global_step
        if len(self._window) >= WINDOW:
            self._close_window()

    def _close_window(self) -> None:
        """Add the terms of the window's batches to the sums of the epoch."""
        if not self._window:
            return
        objectives, nlls, kls = zip(*self._window, strict=True)
        self._window = []
        objective, elbo = torch.cat(objectives, -1), ELBO.of(torch.cat(nlls, -1), torch.cat(kls, -2))
        count = objective.shape[-1]
        # A process may have no rows of a small batch.
        self._check_divergence(objective.sum(-1) / max(1, count))
        sums = elbo.sums()
        if type(self.objective) is not NegativeELBO:  # whose value is train/loss
            sums["objective"] = sum_in_double(objective)
        # Computed after the step, when mixed precision has unscaled the gradients.
        sums["gradient_norm"] = self._gradient_norm() * count
        self._sums = {name: total + self._sums.get(name, 0) for name, total in sums.items()}
        self._count += count

    def _epoch_may_end(self, batch_idx: int) -> bool:
        trainer = self.trainer
        if trainer.is_last_batch or trainer.should_stop or self.global_step == trainer.max_steps:
            return True
        # A validation within the epoch may stop training.
        every, index = trainer.val_check_batch, batch_idx
        if trainer.check_val_every_n_epoch is None:
            index = trainer.fit_loop.total_batch_idx
        return every is None or (index + 1) % every == 0

    def _log_epoch(self) -> None:
        """Log the means since the last call; seldom, because each logged number costs Lightning 0.2 ms."""
        if self._count:
            self._log_means("train", self._sums, self._count)
            self._log_each("train/lr", in_double_precision(self._rates), batch_size=1)
        self._sums, self._count = {}, 0

    def on_train_epoch_end(self) -> None:
        self._log_position()

    # Validation and test: the noise is the same in each pass, so that passes can be compared.

    def on_validation_epoch_start(self) -> None:
        self._eval_noise = self._noise("evaluation")
        self._posteriors = PosteriorMoments(self.posterior.latent_dim)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self._evaluate("val", self._images(batch, batch_idx))

    def on_validation_epoch_end(self) -> None:
        kl, active = self._posteriors.result()
        self._store_kl(kl)
        self._log_each(f"{'test' if self.trainer.testing else 'val'}/active_units", active.sum(-1).double())
        self._log_position()

    on_test_epoch_start = on_validation_epoch_start

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self._evaluate("test", self._images(batch, batch_idx))

    on_test_epoch_end = on_validation_epoch_end

    def _evaluate(self, stage: str, images: Tensor) -> None:
        draws = self._evaluation_draws(images)
        self._posteriors.add(draws.posterior.mean, draws.mean_kl())
        elbo = draws.elbo()
        self._log_means(stage, elbo.sums(), elbo.loss.shape[-1])

    def _images(self, batch: Any, batch_idx: int) -> Tensor:
        images = self.examples(batch)
        if batch_idx == 0:  # not each batch, because a GPU would have to wait for the comparison
            self.likelihood.check_support(images_of(batch, self.image_shape))
        return images

    # Logged values.

    def _log_means(self, stage: str, sums: Mapping[str, Tensor], count: int) -> None:
        """Log exact means over the epoch, weighted by batch size."""
        means = {f"{stage}/{name}": total / max(1, count) for name, total in sums.items()}
        # Lightning divides the sum of the counts by the number of processes with integer division; this makes it exact.
        weight = count * self.trainer.world_size
        for name, mean in means.items():
            self._log_each(name, mean, batch_size=weight, sync_dist=True)

    def _log_each(self, name: str, values: Tensor, **options: Any) -> None:
        options = {"on_step": False, "on_epoch": True, "sync_dist": False, **options}
        self.log_dict(self._named(name, values), **options)

    def _log_position(self) -> None:
        """Log over the weights' steps; by default Lightning counts batches and adds a curve of the epoch."""
        self.log("step", float(self.posterior.step))
