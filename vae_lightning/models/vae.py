"""The variational autoencoder."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from vae_lightning.config.arguments import checked
from vae_lightning.config.errors import InputError
from vae_lightning.config.rules import check
from vae_lightning.config.targets import build
from vae_lightning.estimators.estimator import Estimator
from vae_lightning.estimators.rules import no_derivative, other_posteriors
from vae_lightning.likelihoods.likelihood import Likelihood
from vae_lightning.models.batch import images_of, labels_of
from vae_lightning.models.divergence import divergence
from vae_lightning.models.draw import draw
from vae_lightning.models.joint_optimizer import JointOptimizer
from vae_lightning.models.labelled import images_in, one_hot_in, with_labels
from vae_lightning.models.rules import OPTIMIZER, dependent_latents, no_weights, other_support
from vae_lightning.models.trainable import Trainable
from vae_lightning.networks.custom import build_network
from vae_lightning.networks.mlp import mlp_decoder, mlp_encoder
from vae_lightning.objectives.draws import ELBO, Draws
from vae_lightning.objectives.objective import Objective
from vae_lightning.posteriors.distribution import Distribution
from vae_lightning.posteriors.gaussian import GaussianDistribution
from vae_lightning.posteriors.posterior import Posterior
from vae_lightning.precision import in_single_precision
from vae_lightning.priors.prior import Prior
from vae_lightning.schedules.learning_rate import CONSTANT_RATE
from vae_lightning.schedules.schedule import Schedule
from vae_lightning.streams import NormalStream, generator, seeded

__all__ = ["ADAM", "VAE"]

# Defaults.
WIDTHS = (128,)
GAUSSIAN: Mapping[str, Any] = {"_target_": "vae_lightning.posteriors.Gaussian"}
STANDARD: Mapping[str, Any] = {"_target_": "vae_lightning.priors.Standard"}
BERNOULLI: Mapping[str, Any] = {"_target_": "vae_lightning.likelihoods.Bernoulli"}
NEGATIVE_ELBO: Mapping[str, Any] = {"_target_": "vae_lightning.objectives.NegativeELBO"}
REPARAMETERIZATION: Mapping[str, Any] = {"_target_": "vae_lightning.estimators.Reparameterization"}
ADAM: Mapping[str, Any] = {"_target_": "torch.optim.Adam", "lr": 1e-3, "fused": True}
CONSTANT: Mapping[str, Any] = {"_target_": "vae_lightning.schedules.Constant"}


class VAE(Trainable):
    """A variational autoencoder.

    Images are ``(..., C, H, W)`` with values in [0, 1]; any leading dimensions are batch dimensions. With ``classes``,
    encoder and decoder see the label as well, and images are those that :meth:`examples` returns, which carry it. In
    training a batch is ``(images, labels)``, the images ``(B, C, H, W)`` for one optimiser step or ``(S, B, C, H, W)``
    for a block of S steps, which saves the Trainer's work between steps. Labels may be missing for a model that does
    not see them: see :func:`vae_lightning.models.batch.images_of` for other forms of batches.

    On several devices, with a datamodule that gives every process whole batches (such as an
    :class:`vae_lightning.ImageDataModule`), each process takes its own rows of a batch and of its noise, so that the
    results are those of one device. With any other data, each process has its own batches, as usual in Lightning, and
    its own noise.

    Arguments:
        latent_dim: number of latent dimensions.
        widths: hidden layers of an encoder of linear layers; with none, it is a single linear layer.
        decoder_widths: hidden layers of such a decoder; None for the encoder's in reverse.
        activation: between linear layers, one of :data:`vae_lightning.networks.ACTIVATIONS`, or ``_target_``, the full
            name of a ``torch.nn.Module``, and its arguments.
        encoder: ``_target_``, the full name of a ``torch.nn.Module``, and its arguments, plain values; None for linear
            layers. It is made as ``Class(image_shape=..., latent_dim=..., **arguments)``, with ``outputs=...`` as well
            if it has such an argument, and maps images ``(B, C, H, W)`` to the numbers that the posterior takes, ``(B,
            outputs)``: ``(B, 2 * latent_dim)`` for a Gaussian, mu and logvar side by side. Several batch dimensions
            are flattened for it.
        decoder: likewise, from latents ``(B, latent_dim)`` to the pixels' logits ``(B, C, H, W)``; its ``latent_dim``
            is the number of numbers that represent the latents.
        image_shape: ``(C, H, W)``.
        likelihood: ``_target_``, a :class:`vae_lightning.likelihoods.Likelihood`, and its arguments.
        objective: the training loss: ``_target_``, a :class:`vae_lightning.objectives.Objective`, and its arguments.
            Validation and test evaluate the ELBO, whatever the training loss.
        estimator: the estimator of the encoder's gradient: ``_target_``, a
            :class:`vae_lightning.estimators.Estimator`, and its arguments.
        optimizer: ``_target_``, the full name of a ``torch.optim.Optimizer``, and its arguments.
        schedule: the factor of the learning rate at each optimiser step: ``_target_``, a
            :class:`vae_lightning.schedules.Schedule`, and its arguments.
        seed: seed of the initial weights and the latent noise; global generators are neither used nor changed.
        classes: number of classes, if encoder and decoder are to see the labels 0, 1, ...; None for a model without
            condition.
        posterior: the family of the posterior: ``_target_``, a :class:`vae_lightning.posteriors.Posterior`, and its
            arguments.
        prior: ``_target_``, a :class:`vae_lightning.priors.Prior`, and its arguments.
        prior_optimizer: the optimiser of the prior's own weights, as ``optimizer``, on which the schedule does not act;
            None for ``optimizer``.

    Attributes:
        kl_by_dimension: the KL of each latent variable in nats, ``(latent_dim,)``, averaged over the images of the
            last validation or test; of all together, ``(1,)``, if the posterior or the prior does not factorise; None
            before.

    Raises:
        InputError: if an argument breaks its rule (:mod:`vae_lightning.models.rules`), an encoder or decoder cannot be
            built or maps to another shape, the prior has another support than the posterior, the objective needs a KL
            by dimension that is not known in closed form, or the estimator does not go with the posterior or the
            objective.

    References:
        Auto-Encoding Variational Bayes, Kingma and Welling, 2014 (https://arxiv.org/abs/1312.6114). With ``classes``:
        Learning Structured Output Representation using Deep Conditional Generative Models, Sohn, Lee and Yan, 2015
        (https://papers.nips.cc/paper/5775), with a prior that does not depend on the label.

    Example:
        >>> import torch
        >>> vae = VAE(latent_dim=2)
        >>> images = torch.rand(16, 1, 28, 28)
        >>> vae.encode(images).mu.shape
        torch.Size([16, 2])
        >>> vae.elbo(images).loss.shape
        torch.Size([16])
    """

    arguments: dict[str, Any]

    @checked
    def __init__(
        self,
        latent_dim: int = 20,
        widths: Sequence[int] = WIDTHS,
        decoder_widths: Sequence[int] | None = None,
        activation: str | Mapping[str, Any] = "relu",
        encoder: Mapping[str, Any] | None = None,
        decoder: Mapping[str, Any] | None = None,
        image_shape: Sequence[int] = (1, 28, 28),
        likelihood: Mapping[str, Any] = BERNOULLI,
        objective: Mapping[str, Any] = NEGATIVE_ELBO,
        estimator: Mapping[str, Any] = REPARAMETERIZATION,
        optimizer: Mapping[str, Any] = ADAM,
        schedule: Mapping[str, Any] = CONSTANT,
        seed: int = 0,
        posterior: Mapping[str, Any] = GAUSSIAN,
        prior: Mapping[str, Any] = STANDARD,
        classes: int | str | None = None,
        prior_optimizer: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if image_shape is None:
            raise InputError("image_shape=None: must be a list of 3 values; only vae-train takes it from the data")
        if isinstance(classes, str):
            raise InputError(f"classes={classes}: must be a number or None; only vae-train takes it from the data")
        if encoder is not None and decoder is not None and tuple(widths) != WIDTHS:
            raise InputError(f"widths={[*widths]}: must be {[*WIDTHS]}, because both networks are given")
        if decoder is not None and decoder_widths is not None:
            raise InputError(f"decoder_widths={[*decoder_widths]}: must be null, because decoder is given")
        check(optimizer, OPTIMIZER, "optimizer.")
        if prior_optimizer is not None:
            check(prior_optimizer, OPTIMIZER, "prior_optimizer.")
        self.save_hyperparameters(self.arguments, logger=False)  # TensorBoard's HParams are for sweep axes
        self.latent_dim, self.image_shape, self.seed = latent_dim, tuple(image_shape), seed
        self.classes = classes
        self.kl_by_dimension: Tensor | None = None
        self.objective = build("objective", objective, Objective)  # type: ignore[type-abstract]
        self.estimator = build("estimator", estimator, Estimator)
        self.schedule = build("schedule", schedule, Schedule)  # type: ignore[type-abstract]
        sizes: dict[str, Any] = {"image_shape": self.image_shape, "latent_dim": latent_dim}
        with seeded(seed, "initialisation"):
            self.posterior = build("posterior", posterior, Posterior, latent_dim=latent_dim)  # type: ignore[type-abstract]
            outputs, code = self.posterior.outputs, self.posterior.layer_sizes[0] + (classes or 0)
            self.encoder: nn.Module = (
                mlp_encoder(image_shape, widths, outputs, activation)
                if encoder is None
                else build_network("encoder", encoder, self.image_shape, [outputs], {"outputs": outputs}, **sizes)
            )
            self.decoder: nn.Module = (
                mlp_decoder(code, widths[::-1] if decoder_widths is None else decoder_widths, image_shape, activation)
                if decoder is None
                else build_network("decoder", decoder, [code], self.image_shape, **{**sizes, "latent_dim": code})
            )
            self.likelihood = build("likelihood", likelihood, Likelihood)  # type: ignore[type-abstract]
            self.prior = build("prior", prior, Prior, **sizes)  # type: ignore[type-abstract]
            self.prior.prepare(self.posterior)
            if prior_optimizer is not None and next(self.prior.parameters(), None) is None:
                raise InputError(no_weights(type(self.prior).__name__))
            if classes is not None:
                # An image for each class, which the encoder sees on top of the image: for a linear layer, this is as
                # general as further inputs for the label.
                self.class_images = nn.Parameter(0.1 * torch.randn(classes, math.prod(self.image_shape)))
            self._check_choices()  # before an estimator relies on them
            self.estimator.prepare(self.posterior, self.image_shape)
        self.configure_optimizers()  # so that bad arguments are refused now

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

    def _check_choices(self) -> None:
        """Refuse a prior, an objective or an estimator that does not go with the others.

        Raises:
            InputError: naming both.
        """
        posterior, prior = type(self.posterior).__name__, type(self.prior).__name__
        if self.prior.support is not None and self.prior.support != self.posterior.support:
            raise InputError(other_support(posterior, self.posterior.support, prior, self.prior.support))
        if self.prior.independent and not self.posterior.factorised:
            raise InputError(dependent_latents(posterior, prior))
        if self.prior.encodes and self.classes is not None:
            raise InputError(f"prior={prior}: must be another with classes={self.classes}, because it has no labels")
        if self.objective.kl_by_dimension and not (self.factorised and self._kl_is_exact()):
            raise InputError(
                f"objective={type(self.objective).__name__}: must be another, because it needs the KL of each latent "
                f"variable in closed form, which is not known for posterior={posterior} and prior={prior}"
            )

        estimator = type(self.estimator).__name__
        if self.estimator.reparameterized and not self.posterior.differentiable and self.estimator.posteriors is None:
            raise InputError(no_derivative(estimator, self.posterior.layer_family))
        if self.estimator.posteriors is not None and self.posterior.layer_family not in self.estimator.posteriors:
            raise InputError(other_posteriors(estimator, self.posterior.layer_family, self.estimator.posteriors))
        self.estimator.check(self.objective)

    @property
    def factorised(self) -> bool:
        """Whether the latent variables are independent in posterior and prior; the KL is then by dimension."""
        return self.posterior.factorised and self.prior.factorised

    def _kl_is_exact(self) -> bool:
        weight = next(self.parameters())
        posterior = self.posterior(weight.new_zeros(1, self.posterior.outputs))
        return posterior.kl(self.prior_distribution()) is not None

    def encode(self, images: Tensor) -> Any:
        """Return the posterior of each image, a :class:`vae_lightning.posteriors.Distribution`.

        Arguments:
            images: ``(..., C, H, W)``.

        Returns:
            For a Gaussian, a named tuple of mu and logvar, both ``(..., latent_dim)``.
        """
        if self.classes is not None:
            class_images = one_hot_in(images, self.classes) @ self.class_images
            images = images_in(images) + class_images.unflatten(-1, self.image_shape)
        return self.posterior(self.encoder(images))

    def examples(self, batch: Any) -> Tensor:
        """Return the images of a batch as the other methods take them: with their labels if the model has ``classes``.

        Arguments:
            batch: in any form that :func:`vae_lightning.models.batch.images_of` knows.

        Raises:
            InputError: if there are no images, or the model has ``classes`` and there are no labels or others.
        """
        images = images_of(batch, self.image_shape)
        if self.classes is None:
            return images
        labels = labels_of(batch)
        if labels is None:
            raise InputError(f"classes={self.classes}: must be null, because the data have no labels")
        # Tracing sees no values.
        known = torch.compiler.is_compiling() or not labels.numel()
        if not known and not (labels.min() >= 0 and labels.max() < self.classes):
            raise InputError(
                f"classes={self.classes}: must be above all labels, which are {labels.min()} to {labels.max()}"
            )
        return with_labels(images, labels.view(images.shape[:-3]))

    def pixels(self, images: Tensor) -> Tensor:
        """Return the images ``(..., C, H, W)`` without the labels that they may carry."""
        return images if self.classes is None else images_in(images)

    def condition(self, z: Tensor, images: Tensor) -> Tensor:
        """Return latents ``(..., size)`` as the decoder takes them.

        These are the latents of the layer that it sees, with the labels of images if it sees labels.
        """
        seen = self.posterior.layer_sizes[0]
        if seen < z.shape[-1]:
            z = z[..., :seen]
        if self.classes is None:
            return z
        # In front, because a stack pads the latents at the end.
        return torch.cat([one_hot_in(images, self.classes).expand(*z.shape[:-1], -1).to(z), z], -1)

    def prior_distribution(self) -> Distribution:
        """Return the prior, with tensors that broadcast with those of any images."""
        prior: Distribution = self.prior(self, next(self.parameters()))
        return prior

    @staticmethod
    def reparameterize(mu: Tensor, logvar: Tensor, noise: Tensor) -> Tensor:
        """Return the latents of a Gaussian, mu + exp(logvar / 2) * noise, all ``(..., latent_dim)``.

        They are a deterministic, differentiable function of mu and logvar, because the noise ~ N(0, I) is an argument
        (Kingma and Welling, 2014, section 2.4).
        """
        return GaussianDistribution(mu, logvar).rsample(noise)

    def decode(self, z: Tensor) -> Tensor:
        """Decode latents ``(..., size)`` to the logits of the pixels, ``(..., C, H, W)``, for the likelihood.

        If the model sees classes, or has several layers of latents, they are those that :meth:`condition` returns.
        """
        logits: Tensor = self.decoder(z)
        return logits

    def nll(self, z: Tensor, images: Tensor) -> Tensor:
        """Return -log p(x|z) in nats, ``(...)``, of images ``(..., C, H, W)`` given latents ``(..., size)``."""
        logits = self.decode(self.condition(z, images))
        nll: Tensor = self.likelihood.nll(in_single_precision(logits), self.pixels(images))
        return nll

    def elbo(self, images: Tensor, noise: Tensor | None = None) -> ELBO:
        """Return the negative evidence lower bound of each image, from one latent sample each.

        Arguments:
            images: ``(..., C, H, W)``, in [0, 1].
            noise: ``(..., noise_size)`` from N(0, I); if None, drawn from torch's global generator.
        """
        if noise is None:
            noise = images.new_empty(*images.shape[: -len(self.image_shape)], self.posterior.noise_size).normal_()
        return draw(self, images, noise[None]).elbo()

    def forward(self, images: Tensor) -> Tensor:
        """Reconstruct images, as :meth:`reconstruct` does."""
        return self.reconstruct(images)

    def reconstruct(self, images: Tensor) -> Tensor:
        """Return images ``(..., C, H, W)`` decoded from the means of their posteriors, in [0, 1]."""
        return self.likelihood.mean(self.decode(self.condition(self.encode(images).mean, images)))

    def sample(self, count: int, noise: Tensor | None = None, labels: Tensor | None = None) -> Tensor:
        """Return images ``(count, C, H, W)`` decoded from the prior, in [0, 1].

        Arguments:
            count: number of images.
            noise: ``(count, noise_size)`` from N(0, I), with the prior's ``noise_size``; if None, drawn from torch's
                global generator.
            labels: the classes to draw from, ``(count,)``, if the model has ``classes``; None for all in turn.
        """
        weight, prior = next(self.parameters()), self.prior_distribution()
        if noise is None:
            noise = weight.new_empty(count, prior.noise_size).normal_()
        images = weight.new_zeros(count, *self.image_shape)
        if self.classes is not None:
            images = self.examples((images, torch.arange(count) % self.classes if labels is None else labels))
        return self.likelihood.mean(self.decode(self.condition(prior.rsample(noise), images)))

    def configure_optimizers(self) -> Any:
        """Build the optimiser of all parameters, and the schedule of its learning rate.

        If the prior or the estimator has an optimiser of its own, they step together as one.
        """
        parts = self.optimizer_parts()
        each = [
            self.build_optimizer(part, [self.get_parameter(name) for name in names])
            for part, (_, names) in enumerate(parts)
        ]
        return self._scheduled(each[0] if len(each) == 1 else JointOptimizer(each))

    def optimizer_parts(self) -> list[tuple[Mapping[str, Any], list[str]]]:
        """Return the optimisers: ``_target_`` with its arguments, and the names of its parameters.

        The first one is the model's, on which the schedule acts; the others are those of the prior and of the
        estimator's own weights.
        """
        own = [(node, [f"estimator.{name}" for name in names]) for node, names in self.estimator.optimizers()]
        prior = self.hparams["prior_optimizer"]
        if prior is not None:
            own.insert(0, (prior, [f"prior.{name}" for name, _ in self.prior.named_parameters()]))
        taken = {name for _, names in own for name in names}
        rest = [name for name, _ in self.named_parameters() if name not in taken]
        return [(self.hparams["optimizer"], rest), *own]

    def build_optimizer(self, part: int, parameters: Iterable[nn.Parameter]) -> Optimizer:
        """Build one of the model's optimisers for given parameters, e.g. those of a copy.

        Arguments:
            part: its index in :meth:`optimizer_parts`.
            parameters: its parameters.

        Raises:
            InputError: if ``_target_`` is not the name of a ``torch.optim.Optimizer``, or the class refuses the
                arguments.
        """
        optimizer: Optimizer = build("optimizer", self.optimizer_parts()[part][0], Optimizer, parameters)
        for group in optimizer.param_groups[: 0 if part == 0 else None]:
            group[CONSTANT_RATE] = True
        return optimizer

    @property
    def lr(self) -> float | None:
        """The initial learning rate, which Lightning's LearningRateFinder sets; None for the optimiser's default."""
        lr: float | None = self.hparams["optimizer"].get("lr")
        return lr

    @lr.setter
    def lr(self, lr: float) -> None:
        self.hparams["optimizer"] = {**self.hparams["optimizer"], "lr": lr}

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the gradient without that of the estimator's own weights, which have losses of their own."""
        hidden = [(weight, weight.grad) for weight in self.estimator.parameters()]
        for weight, _ in hidden:
            weight.grad = None
        super().configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)
        for weight, gradient in hidden:
            weight.grad = gradient

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        """Reconstruct the images of a batch, as :meth:`reconstruct` does."""
        return self.reconstruct(self.examples(batch))

    def rows(self, count: int) -> slice:
        """Return this process's rows of a batch of ``count``: all of them unless several processes share the batch."""
        if not self._shares_batches:
            return slice(0, count)
        rank, processes = self.trainer.global_rank, self.trainer.world_size
        return slice(count * rank // processes, count * (rank + 1) // processes)

    def _steps(self, batch: Any, batch_idx: int) -> list[tuple[Tensor, Tensor, int]]:
        images = self._images(batch, batch_idx)
        steps = images if images.dim() > 1 + len(self.image_shape) else images[None]
        return [(*self._share(x, self._train_noise, self.noise_rows), len(x)) for x in steps]

    def _share(self, images: Tensor, noise: NormalStream, rows: int) -> tuple[Tensor, Tensor]:
        """Return this process's images, and their rows of noise."""
        count, own = len(images), self.rows(len(images))
        return images[own], noise.draw(rows * count).view(rows, count, -1)[:, own]

    def _evaluation_draws(self, images: Tensor) -> Draws:
        return draw(self, *self._share(images, self._eval_noise, rows=1))

    def _noise(self, name: str, *indices: int) -> NormalStream:
        dtype = next(self.parameters()).dtype
        if self.trainer.world_size > 1 and not self._shares_batches:
            indices = (*indices, self.trainer.global_rank)
        return NormalStream(generator(self.seed, name, *indices), self.posterior.noise_size, self.device, dtype)

    def _check_divergence(self, losses: Tensor) -> None:
        weights = get_total_norm(self.parameters())
        if not (losses + weights).isfinite():
            raise FloatingPointError(divergence(losses, weights, self.current_epoch, self.global_step, self._rates))

    def _gradient_norm(self) -> Tensor:
        return get_total_norm([weight.grad for weight in self._own_weights() if weight.grad is not None])

    def _learning_rates(self) -> float:
        optimizer: Any = self.optimizers(use_pl_optimizer=False)
        lr: float = optimizer.param_groups[0]["lr"]
        return lr

    def _store_kl(self, kl: Tensor) -> None:
        self.kl_by_dimension = kl

    def _named(self, name: str, values: Tensor) -> dict[str, Tensor]:
        return {name: values}
