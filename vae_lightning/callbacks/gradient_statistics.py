"""Bias and variance of the encoder's gradient during training."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from vae_lightning.config.arguments import checked
from vae_lightning.config.choices import with_choices
from vae_lightning.config.errors import InputError
from vae_lightning.evaluation.gradient_curves import as_image, draw_gradient_curves
from vae_lightning.evaluation.gradient_error import (
    AT_ONCE,
    encoder_gradients,
    gradient_error,
    gradient_seconds,
    losses,
    moments,
)
from vae_lightning.models.vae import VAE
from vae_lightning.precision import in_double_precision
from vae_lightning.streams import NormalStream, generator
from vae_lightning.trackers.media import show_image
from vae_lightning.whole_files import write_figure

__all__ = ["GradientStatistics"]

log = logging.getLogger(__name__)

# The references, the first of which that goes with the model is taken: exact, or unbiased with a low variance.
REFERENCES = ("Enumeration", "Reparameterization", "DisARM", "LeaveOneOut")


class GradientStatistics(Callback):
    """Logs the error of the encoder's gradient as ``gradient/bias``, ``noise``, ``variance`` and ``norm``.

    The gradient of the model's objective is estimated on the same images each time, with the model's estimator and in
    the model's precision. With ``estimators``, each of them is measured at the same weights, those that the model's
    own estimator has led to, and logged as ``gradient/NAME/bias`` and so on. See
    :class:`vae_lightning.evaluation.gradient_error.GradientError`. ``seconds`` is the time that the gradient of a batch
    of these images in all weights takes.

    The reference is unbiased, and in double precision: the exact gradient by enumeration where the latents have few
    enough values, else the reparameterised one where they are differentiable, else that of DisARM for binary latents
    and of the leave-one-out estimator for others. The log says which.

    Estimators with weights of their own learn them on training images before each measurement, from where they were at
    the last one; the weights are part of every checkpoint. An estimator that is the model's own has the model's.

    Arguments:
        every_n_epochs: epochs between two measurements.
        images: number of images, the first of the (shuffled) training images.
        estimates: number of gradients drawn from each estimator.
        references: number of gradients drawn from the reference estimator; an exact one is computed once.
        reference_posterior: ``_target_``, a :class:`vae_lightning.posteriors.Posterior` of the same parameters, and its
            arguments: the reference's, to find the bias of a posterior's own samples; None for the model's.
        estimators: names of files in ``conf/estimator``, or by name ``_target_``, a
            :class:`vae_lightning.estimators.Estimator`, and its arguments; None for the model's own, whose metrics have
            no name in between.
        reference: one of both, an unbiased estimator without weights of its own; None for the choice above.
        own_steps: number of steps that the estimators' own weights take before each measurement, with batches of as
            many images as are measured.
        every_n_steps: optimiser steps between further measurements within an epoch, which go to the loggers and the
            picture alone; None for none. Training then takes a batch at a time.
        picture: the PNG file in which bias and variance are plotted over the steps, for all measurements so far; None
            for none. Loggers that accept images get it when training ends.

    Attributes:
        history: each measurement so far: ``step`` and the logged metrics.

    Raises:
        InputError: if an argument breaks its rule (:mod:`vae_lightning.callbacks.rules`), an estimator does not go with
            the model, or the Trainer has no datamodule.
    """

    @checked
    def __init__(
        self,
        every_n_epochs: int = 1,
        images: int = 64,
        estimates: int = 1000,
        references: int = 500,
        reference_posterior: Mapping[str, Any] | None = None,
        estimators: Sequence[str] | Mapping[str, Mapping[str, Any]] | None = None,
        reference: str | Mapping[str, Any] | None = None,
        own_steps: int = 100,
        every_n_steps: int | None = None,
        picture: str | None = None,
    ) -> None:
        self.every_n_epochs, self.every_n_steps, self.images = every_n_epochs, every_n_steps, images
        self.estimates, self.references, self.reference_posterior = estimates, references, reference_posterior
        self.own_steps = own_steps
        named = {"_target_": f"{__name__}.GradientStatistics", "estimators": estimators, "reference": reference}
        nodes = with_choices(named)
        self.estimators: Mapping[str, Mapping[str, Any]] | None = nodes["estimators"]
        self.reference: Mapping[str, Any] | None = nodes["reference"]
        self.picture = None if picture is None else Path(picture)
        # Otherwise it looks between steps, for which a block of them has no room.
        self.works_in_blocks = every_n_steps is None
        self.history: list[dict[str, float]] = []
        self._own: dict[str, Any] = {}  # by name, the states of the estimators' own weights and of their optimisers

    def check(self, model: VAE) -> None:
        """Refuse estimators that do not go with a model.

        Raises:
            InputError: naming the argument.
        """
        self._reference(model)
        for name, node in (self.estimators or {}).items():
            _with_estimator(model, f"estimators.{name}", node)

    def announce(self, model: VAE) -> None:
        """Log which estimator is the reference."""
        reference = type(self._reference(model).estimator).__name__
        log.info("gradients are compared with those of %s, in double precision", reference)

    def state_dict(self) -> dict[str, Any]:
        return {"history": self.history, "own": self._own}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.history, self._own = [{**row} for row in state_dict["history"]], dict(state_dict["own"])

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if trainer.datamodule is None:  # type: ignore[attr-defined]
            raise InputError("GradientStatistics needs a datamodule: pass datamodule=... to the Trainer's fit")
        if stage == "fit":
            self.check(_vae(pl_module))

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if isinstance(trainer, Trainer) and trainer.is_global_zero:  # not for each model of a stack
            self.announce(_vae(pl_module))

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
        due = self.every_n_steps is not None and trainer.global_step % self.every_n_steps == 0
        if due and not self._measured(trainer):
            metrics = self._measure(trainer, _vae(pl_module))
            for logger in trainer.loggers:
                logger.log_metrics(metrics, trainer.global_step)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if (trainer.current_epoch + 1) % self.every_n_epochs:
            return
        if not self._measured(trainer):
            self._measure(trainer, _vae(pl_module))
        metrics = {name: value for name, value in self.history[-1].items() if name != "step"}
        pl_module.log_dict({name: in_double_precision(value) for name, value in metrics.items()}, sync_dist=False)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.is_global_zero and trainer.loggers and self.history:
            picture = as_image(draw_gradient_curves(self.history))
            show_image(trainer.loggers, "visuals/gradient_variance", picture, trainer.global_step)

    def _measured(self, trainer: Trainer) -> bool:
        return bool(self.history) and self.history[-1]["step"] == trainer.global_step

    def _measure(self, trainer: Trainer, vae: VAE) -> dict[str, float]:
        """Measure each estimator, add the metrics to the history and draw the picture."""
        step, position = trainer.global_step, trainer.current_epoch
        if self.every_n_steps is not None:
            position = step
        images, *others = self._batches(trainer.datamodule, vae)  # type: ignore[attr-defined]
        metrics: dict[str, float] = {}

        def source(place: int) -> torch.Generator:
            return generator(vae.seed, "gradient", position, place)

        with torch.enable_grad():  # the Trainer calls its hooks with gradients disabled
            exact = self._reference(vae).double()
            references = moments(encoder_gradients(exact, images, self.references, source(1), step, AT_ONCE))
            for name, node in (self.estimators or {"": vae.hparams["estimator"]}).items():
                model = _with_estimator(vae, f"estimators.{name}", node)
                if _own_parts(model) and node != vae.hparams["estimator"]:
                    self._learn(name, model, others or [images], source(2), step)
                estimates = encoder_gradients(model, images, self.estimates, source(0), step, AT_ONCE)
                found = gradient_error(estimates, references)._asdict()
                found["seconds"] = gradient_seconds(model, images, source(0), step)
                prefix = f"gradient/{name}/" if name else "gradient/"
                metrics |= {f"{prefix}{key}": value for key, value in found.items()}
        self.history.append({"step": step, **metrics})
        if self.picture is not None and trainer.is_global_zero:
            write_figure(self.picture, draw_gradient_curves(self.history))
        return metrics

    def _reference(self, vae: VAE) -> VAE:
        """Return a copy of the model with the reference's estimator.

        Raises:
            InputError: if it does not go with the model.
        """
        posterior = self.reference_posterior or vae.hparams["posterior"]
        if self.reference is not None:
            model = _with_estimator(vae, "reference", self.reference, posterior)
            if _own_parts(model):
                raise InputError(
                    f"reference={self.reference['_target_']}: must be an estimator without weights of its own"
                )
            return model
        for name in REFERENCES[:-1]:
            with suppress(InputError):
                return _with_estimator(vae, "reference", {"_target_": f"vae_lightning.estimators.{name}"}, posterior)
        return _with_estimator(vae, "reference", {"_target_": f"vae_lightning.estimators.{REFERENCES[-1]}"}, posterior)

    def _learn(self, name: str, model: VAE, batches: Sequence[Tensor], source: torch.Generator, step: int) -> None:
        """Let the weights of an estimator follow their losses from where they were at the last measurement.

        Arguments:
            name: the estimator's name.
            model: the model with the estimator, which gets the weights.
            batches: training images.
            source: generator at the beginning of the stream of the latents' noise.
            step: number of optimiser steps so far.
        """
        weights = [*model.estimator.parameters()]
        optimizers = [
            model.build_optimizer(part, [model.get_parameter(weight) for weight in names])
            for part, names in _own_parts(model)
        ]
        if name in self._own:
            model.estimator.load_state_dict(self._own[name]["weights"])
            for optimizer, state in zip(optimizers, self._own[name]["optimizers"], strict=True):
                optimizer.load_state_dict(state)
        noise = NormalStream(source, model.posterior.noise_size, model.device, weights[0].dtype)
        rows = model.noise_rows
        for images in islice(cycle(batches), self.own_steps):
            drawn = noise.draw(rows * len(images)).view(rows, len(images), -1)
            loss = losses(model, images, drawn, step).mean()
            for weight, gradient in zip(weights, torch.autograd.grad(loss, weights), strict=True):
                weight.grad = gradient
            for optimizer in optimizers:
                optimizer.step()
        self._own[name] = {
            "weights": model.estimator.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in optimizers],
        }

    def _batches(self, data: object, vae: VAE) -> Sequence[Tensor]:
        """Return the images to measure on and, for estimators that learn, others to learn on, in such batches."""
        wanted = self.images * (1 + (self.own_steps if self.estimators else 0))
        parts, count = [], 0
        for batch in data.train_dataloader():  # type: ignore[attr-defined]
            images = vae.examples(batch)
            parts.append(images.flatten(0, -1 - len(vae.image_shape)))
            count += len(parts[-1])
            if count >= wanted:
                break
        first, *others = torch.cat(parts)[:wanted].to(next(vae.parameters())).split(self.images)
        return [first, *(other for other in others if len(other) == len(first))]


def _vae(module: LightningModule) -> VAE:
    assert isinstance(module, VAE), f"GradientStatistics needs a VAE, but the model is a {type(module).__name__}"
    return module


def _with_estimator(
    vae: VAE, argument: str, node: Mapping[str, Any], posterior: Mapping[str, Any] | None = None
) -> VAE:
    """Return a copy of the model with another estimator, and perhaps another posterior of the same parameters.

    An estimator that is the model's own has the model's weights, any other one its initial ones.

    Raises:
        InputError: naming the argument, if they do not go together.
    """
    given = {**vae.hparams, "estimator": node, "posterior": posterior or vae.hparams["posterior"]}
    try:
        copy = type(vae)(**given).to(next(vae.parameters()))
    except InputError as error:
        raise InputError(f"{argument}: {error}") from error
    own = node == vae.hparams["estimator"]
    weights = {name: weight for name, weight in vae.state_dict().items() if own or not name.startswith("estimator.")}
    copy.load_state_dict(copy.state_dict() | weights)
    copy.posterior.step = vae.posterior.step
    return copy


def _own_parts(vae: VAE) -> list[tuple[int, list[str]]]:
    """Return the indices of the optimisers of the estimator's own weights, and the names of these weights."""
    count = len(vae.estimator.optimizers())
    return [(part, names) for part, (_, names) in enumerate(vae.optimizer_parts())][-count:] if count else []
