"""A stack: several VAEs trained as one."""

import copy
from collections.abc import Sequence
from functools import partial
from itertools import compress, groupby
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.optim import Optimizer

from vae_lightning.config.errors import InputError, one_line
from vae_lightning.estimators.estimator import Estimator
from vae_lightning.likelihoods.likelihood import Likelihood
from vae_lightning.models.batched_linear import BatchedLinear, replace_linear
from vae_lightning.models.divergence import divergence
from vae_lightning.models.draw import PLAIN, draw
from vae_lightning.models.joint_optimizer import StackOptimizer
from vae_lightning.models.padding import own_place
from vae_lightning.models.stackable import ELEMENTWISE, by_matrix_products, in_common
from vae_lightning.models.trainable import Trainable
from vae_lightning.models.vae import VAE
from vae_lightning.objectives.draws import ELBO, Draws
from vae_lightning.posteriors.distribution import Distribution
from vae_lightning.posteriors.posterior import Posterior
from vae_lightning.streams import NormalStream, generator

__all__ = ["Stack"]


class _Method(nn.Module):
    """A module whose forward is a method of a model, because torch.func calls only the forward of modules."""

    def __init__(self, model: VAE, name: str) -> None:
        super().__init__()
        self.model, self.name = model, name

    def forward(self, *arguments: Tensor) -> Any:
        return getattr(self.model, self.name)(*arguments)


class Stack(Trainable):
    """K models of one architecture, trained together, each as if it were alone.

    They may differ in ``seed``, the optimiser's arguments, the objective's ``beta`` and, where the latent variables are
    independent of each other, in ``latent_dim``. A smaller ``latent_dim`` is padded with zero weights; latents, KL,
    densities and all gradients there are exactly zero, and stay so. If the loss or the weights of a model become
    non-finite, ``failures`` describes it, and the other models are not affected. Between two epochs, :meth:`keep` lets
    models leave the stack. Put models with the same optimiser side by side, so that they share its steps.

    A :class:`VAE` of linear layers is computed with batched matrix products; any other model, with custom networks or
    methods, with ``torch.func.vmap`` over the weights of all models.

    A training batch is ``(images, labels)``, both lists: of one tensor if all models see the same images, otherwise of
    one per model (see :class:`StackData`). Images are ``(B, C, H, W)``, or ``(S, B, C, H, W)`` for a block of S steps.

    Arguments:
        vaes: the models. Their weights are copied; :meth:`unstack` copies them back.

    Attributes:
        places: the number under which each model's metrics are logged, ``0/train/loss``; at first, its index.

    Raises:
        InputError: if there are no models, two differ in anything else, their optimiser does not update each weight
            independently, or torch.func cannot run the model: one that draws random numbers itself, like dropout, or
            changes its own state, like batch normalisation.

    Example:
        >>> stack = Stack([VAE(latent_dim=2, seed=1), VAE(latent_dim=20, seed=2)])
        >>> stack.elbo(torch.rand(1, 16, 1, 28, 28), torch.zeros(2, 16, 20)).loss.shape
        torch.Size([2, 16])
    """

    own_dims: Tensor | None

    def __init__(self, vaes: Sequence[VAE]) -> None:
        super().__init__()
        if not vaes:
            raise InputError("vaes: must be one or more models")
        for vae in vaes:
            common = in_common(vae.hparams)
            for name, value in in_common(vaes[0].hparams).items():
                if type(vae) is not type(vaes[0]) or common[name] != value:
                    raise InputError(f"{name}={common[name]}: must be {value} for all models of a stack")
            for key in ("optimizer", "prior_optimizer"):
                target = str((vae.hparams[key] or vae.hparams["optimizer"])["_target_"])
                if target not in [f"torch.optim.{name}" for name in ELEMENTWISE]:
                    raise InputError(f"{key}._target_={target}: must be one of torch.optim's {', '.join(ELEMENTWISE)}")
        self.vaes = tuple(vaes)  # a tuple, so that they are not part of this module
        self.places = list(range(len(vaes)))
        self.latent_dim = max(vae.latent_dim for vae in vaes)
        self.model = copy.deepcopy(next(vae for vae in vaes if vae.latent_dim == self.latent_dim))
        self.objective, self.schedule = self.model.objective, self.model.schedule
        self.image_shape = self.model.image_shape
        dims = torch.tensor([[vae.latent_dim] for vae in vaes])
        own_dims = (torch.arange(self.latent_dim) < dims).to(next(self.model.parameters()))
        # (K, 1, latent_dim); None without padding.
        self.register_buffer("own_dims", None if own_dims.all() else own_dims[:, None], persistent=False)
        self._by_matrix_products = by_matrix_products(self.model)
        if self._by_matrix_products:
            replace_linear(self.model.encoder, len(vaes))
            replace_linear(self.model.decoder, len(vaes))
        replace_linear(self.model.estimator, len(vaes))
        for module in self.model.modules():
            if not isinstance(module, BatchedLinear):
                self._add_model_dimension(module)
        with torch.no_grad():
            for name, weight in self.model.named_parameters():
                for vae, padded in zip(vaes, weight, strict=True):
                    own = vae.get_parameter(name)
                    padded[own_place(vae.posterior.size, own.shape, self.posterior.size, padded.shape)] = own
        if not self._by_matrix_products:
            self._check_losses()
        for name in self.objective.FREE:
            values = [[getattr(vae.objective, name)] for vae in vaes]
            setattr(self.objective, name, torch.tensor(values, dtype=torch.float64))
        # The models that share an optimiser.
        self.groups: list[slice] = []
        for _, members in groupby(vaes, key=lambda vae: vae.hparams["optimizer"]):
            first = self.groups[-1].stop if self.groups else 0
            self.groups.append(slice(first, first + len(list(members))))
        # The error message for each model that has diverged, by its place: its results are meaningless.
        self.failures: dict[int, str] = {}

    def _add_model_dimension(self, module: nn.Module) -> None:
        """Replace a module's own weights by zeros with a leading dimension for the models."""
        if next(module.buffers(recurse=False), None) is not None:
            raise InputError(f"{type(module).__name__}: a stack's models must have no state except their weights")
        for name, weight in list(module.named_parameters(recurse=False)):
            setattr(module, name, nn.Parameter(weight.new_zeros(len(self.vaes), *weight.shape)))

    def _check_losses(self) -> None:
        """Compare the loss of a grey image with each model's own, because a custom model may depend on its padding."""
        weights = next(self.model.parameters())
        image = self.model.examples((weights.new_full((1, *self.image_shape), 0.5), torch.zeros(1, dtype=torch.long)))
        try:
            with torch.no_grad():
                noise = weights.new_zeros(len(self.vaes), 1, self.posterior.noise_size)
                found = self.elbo(image[None], noise).loss[:, 0]
                own = [vae.elbo(image, noise[0, :, : vae.posterior.noise_size]).loss[0] for vae in self.vaes]
        except Exception as error:  # a custom model may raise anything inside vmap
            raise InputError(f"{type(self.model).__name__}: torch.func cannot stack it: {one_line(error)}") from error
        if not torch.allclose(found, torch.stack(own), rtol=1e-3):
            raise InputError(f"{type(self.model).__name__}: cannot be stacked with another latent_dim")

    def unstack(self) -> tuple[VAE, ...]:
        """Return the models with their current weights, in the current precision."""
        with torch.no_grad():
            for name, weight in self.model.named_parameters():
                for vae, padded in zip(self.vaes, weight.cpu(), strict=True):
                    own = vae.get_parameter(name)
                    own.data = padded[
                        own_place(vae.posterior.size, own.shape, self.posterior.size, padded.shape)
                    ].clone()
        return self.vaes

    @property
    def healthy(self) -> list[int]:
        """The indices of the models that have not diverged."""
        return [k for k, place in enumerate(self.places) if place not in self.failures]

    @property
    def likelihood(self) -> Likelihood:  # type: ignore[override]
        return self.model.likelihood

    @property
    def posterior(self) -> Posterior:  # type: ignore[override]
        return self.model.posterior

    @property
    def estimator(self) -> Estimator:  # type: ignore[override]
        return self.model.estimator

    def examples(self, batch: Any) -> Tensor:
        return self.model.examples(batch)

    def pixels(self, images: Tensor) -> Tensor:
        return self.model.pixels(images)

    def encode(self, images: Tensor) -> Distribution:
        """Return each model's posterior of each image, with tensors ``(K, B, ...)``.

        Latent variables beyond a model's ``latent_dim`` are padding.

        Arguments:
            images: ``(K, B, C, H, W)``, or ``(1, B, C, H, W)`` if all models see the same images.
        """
        posterior: Distribution
        posterior = self.model.encode(images) if self._by_matrix_products else self._each("encode", (images, 0))
        return posterior

    def prior_distribution(self) -> Distribution:
        """Return each model's prior, with tensors ``(K, 1, ...)``, or ``(1, ...)`` if none is learned."""
        prior_module = self.model.prior
        learned = prior_module.encodes or next(prior_module.parameters(), None) is not None
        if self._by_matrix_products or not learned:
            return self.model.prior_distribution()
        prior: Distribution = self._each("prior_distribution")
        return prior

    def nll(self, z: Tensor, images: Tensor) -> Tensor:
        """Return -log p(x|z) of each image for each model, in nats, ``(..., K, B)``.

        Arguments:
            z: latents ``(..., K, B, latent_dim)``.
            images: ``(K, B, C, H, W)``, or ``(1, B, C, H, W)`` if all models see the same images.
        """
        if self._by_matrix_products:
            return self.model.nll(z, images)
        nll: Tensor = self._each("nll", (z, z.dim() - 3), (images, 0))
        return nll

    def elbo(self, images: Tensor, noise: Tensor) -> ELBO:
        """Return the negative evidence lower bound of each image for each model, ``(K, B)``.

        Arguments:
            images: ``(K, B, C, H, W)``, or ``(1, B, C, H, W)`` if all models see the same images.
            noise: ``(K, B, noise_size)`` from N(0, I).
        """
        return self._draws(images, noise[None]).elbo()

    def _draws(self, images: Tensor, noise: Tensor, estimator: Estimator = PLAIN) -> Draws:
        return draw(self, images, noise, None if self.own_dims is None else self.own_dims.to(noise), estimator)

    def _each(self, method: str, *inputs: tuple[Tensor, int]) -> Any:
        """Call a method of all models; each input comes with the index of its model dimension, of size K or 1."""
        module = _Method(self.model, method)
        shared = [given.shape[dim] == 1 for given, dim in inputs]
        arguments = [given.squeeze(dim) if one else given for (given, dim), one in zip(inputs, shared, strict=True)]
        dims = tuple(None if one else dim for (_, dim), one in zip(inputs, shared, strict=True))
        each = vmap(partial(functional_call, module), in_dims=(0, dims), out_dims=inputs[0][1] if inputs else 0)
        return each(dict(module.named_parameters()), tuple(arguments))

    def configure_optimizers(self) -> Any:
        """Build one optimiser for each sequence of models with the same optimiser arguments."""
        weights = dict(self.model.named_parameters())
        return self._scheduled(
            StackOptimizer(
                [[weights[name] for name in names] for _, names in self.model.optimizer_parts()],
                self.groups,
                lambda place, part, rows: self.vaes[self.groups[place].start].build_optimizer(part, rows),
            )
        )

    def keep(self, kept: Sequence[int]) -> None:
        """Let all other models leave the stack, between two epochs of a fit or before one.

        Their rows leave the weights, the gradients, the optimisers' states and the streams of noise. :attr:`vaes` loses
        them too; what :meth:`unstack` has copied to them stays.

        Arguments:
            kept: indices of the models that stay, ascending.
        """
        index = torch.tensor(kept)  # on the CPU, where it selects from tensors on any device
        self.vaes, self.places = tuple(self.vaes[k] for k in kept), [self.places[k] for k in kept]
        if self.own_dims is not None:
            self.own_dims = self.own_dims[index]
        for name in self.objective.FREE:
            setattr(self.objective, name, getattr(self.objective, name)[index])
        for weight in self.model.parameters():
            weight.grad, weight.data = None, weight.data[index]
        members = [[k - own.start for k in kept if own.start <= k < own.stop] for own in self.groups]
        counts = [len(group) for group in members if group]
        ends = torch.tensor(counts).cumsum(0).tolist()
        self.groups = [slice(end - count, end) for count, end in zip(counts, ends, strict=True)]
        if self._trainer is not None and self.trainer.optimizers:
            joint: StackOptimizer = self.optimizers(use_pl_optimizer=False)  # type: ignore[assignment]
            joint.keep(members, self.groups)
            for config in self.trainer.lr_scheduler_configs:
                scheduler: Any = config.scheduler
                scheduler.base_lrs = [*compress(scheduler.base_lrs, (rows for rows in members for _ in joint.parts))]
        if self._compiled is not None:  # for another number of models
            self._compile()

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the gradient of each model as if it were alone."""
        if not gradient_clip_val:
            return
        # As torch.nn.utils.clip_grad_norm_ does.
        scale = (gradient_clip_val / (self._gradient_norm() + 1e-6)).clamp(max=1)
        for gradient in self._weight_gradients():
            if gradient_clip_algorithm == "value":
                gradient.clamp_(-gradient_clip_val, gradient_clip_val)
            else:
                gradient.mul_(scale.view(-1, *[1] * (gradient.dim() - 1)))

    def on_fit_start(self) -> None:
        if self.trainer.world_size > 1:
            raise InputError(f"devices={self.trainer.world_size}: must be 1, because a stack trains in one process")
        super().on_fit_start()

    def _steps(self, batch: Any, batch_idx: int) -> list[tuple[Any, Tensor, int]]:
        images = [self._images(pair, batch_idx) for pair in zip(*batch, strict=True)]
        in_blocks = images[0].dim() > 1 + len(self.image_shape)
        each = [*zip(*images, strict=True)] if in_blocks else [tuple(images)]
        rows, size = self.noise_rows, len(each[0][0])
        noises = self._draw(self._train_noise, len(each) * rows * size).split(rows * size, 1)
        noises = [noise.unflatten(1, (rows, size)).movedim(1, 0) for noise in noises]
        return [(x, noise, size) for x, noise in zip(each, noises, strict=True)]

    def _loss(self, images: Sequence[Tensor], noise: Tensor, count: int) -> Tensor:
        # Stacked one step at a time: the images of a block are more than the allocator keeps, and would be allocated
        # anew each time.
        return super()._loss(torch.stack([*images]), noise, count)

    def _evaluation_draws(self, images: Tensor) -> Draws:
        return self._draws(images[None], self._draw(self._eval_noise, len(images))[None])

    def _noise(self, name: str, *indices: int) -> list[NormalStream]:
        dtype = next(self.parameters()).dtype
        return [
            NormalStream(generator(vae.seed, name, *indices), vae.posterior.noise_size, self.device, dtype)
            for vae in self.vaes
        ]

    def _draw(self, streams: Sequence[NormalStream], count: int) -> Tensor:
        """Return the next rows of each model's stream, ``(K, count, noise_size)``, zero in its padding."""
        noise = next(self.parameters()).new_zeros(len(streams), count, self.posterior.noise_size)
        for own, vae, stream in zip(noise, self.vaes, streams, strict=True):
            if stream.size == noise.shape[-1]:
                own.copy_(stream.draw(count))
            else:  # blocks with their own padding
                blocks = (self.posterior.noise_parts, -1)
                own.unflatten(-1, blocks)[..., : vae.posterior.size] = stream.draw(count).unflatten(-1, blocks)
        return noise

    def _check_divergence(self, losses: Tensor) -> None:
        norms = _norms([*self.model.parameters()])
        for k in (~(losses + norms).isfinite()).nonzero().flatten().tolist():
            optimizer = self.vaes[k].hparams["optimizer"]
            self.failures.setdefault(
                self.places[k],
                divergence(losses[k], norms[k], self.current_epoch, self.global_step, optimizer.get("lr")),
            )

    def _gradient_norm(self) -> Tensor:
        return _norms(self._weight_gradients())

    def _weight_gradients(self) -> list[Tensor]:
        return [weight.grad for weight in self._own_weights() if weight.grad is not None]

    def _learning_rates(self) -> list[float]:
        optimizer: Any = self.optimizers(use_pl_optimizer=False)
        groups = zip(self.groups, optimizer.param_groups[:: len(optimizer.parts)], strict=True)
        return [group["lr"] for own, group in groups for _ in self.vaes[own]]

    def _store_kl(self, kl: Tensor) -> None:
        for vae, own in zip(self.vaes, kl, strict=True):
            vae.kl_by_dimension = own[: vae.latent_dim]

    def _named(self, name: str, values: Tensor) -> dict[str, Tensor]:
        return {f"{place}/{name}": value for place, value in zip(self.places, values, strict=True)}


def _norms(tensors: Sequence[Tensor]) -> Tensor:
    """Return the norm of each model's part of all tensors, each ``(K, ...)``."""
    parts = [torch.linalg.vector_norm(tensor.reshape(len(tensor), -1), dim=1) for tensor in tensors]
    norms: Tensor = torch.linalg.vector_norm(torch.stack(parts), dim=0)
    return norms
