"""Many VAEs trained as one: each layer of all of them is one batched matrix product, each keeps its own streams."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader, Sampler

from vae_lightning.checks import InputError
from vae_lightning.data import BlockSampler, ImageDataModule
from vae_lightning.streams import NormalStream, generator
from vae_lightning.vae import ELBO, VAE

__all__ = ["Stack", "StackData"]

# What the models of a stack may differ in.
FREE = ("latent_dim", "seed", "optimizer")


class _BatchedLinear(torch.autograd.Function):
    """x W' + b for K layers at once. By itself autograd would give W's gradient transposed, and copy all of it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return torch.baddbmm(bias[:, None], x, weight.mT)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        (gradient,), (x, weight) = gradients, ctx.saved_tensors
        towards_x = torch.bmm(gradient, weight) if ctx.needs_input_grad[0] else None
        return towards_x, torch.bmm(gradient.mT, x), gradient.sum(1)


class _Linear(nn.Module):
    """The linear layers of K models as one: ``(K, B, in)``, or ``(1, B, in)`` for all, to ``(K, B, out)``."""

    def __init__(self, layer: nn.Linear, count: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(layer.weight.new_zeros(count, *layer.weight.shape))
        self.bias = nn.Parameter(layer.weight.new_zeros(count, layer.out_features))

    def forward(self, x: Tensor) -> Tensor:
        product: Tensor = _BatchedLinear.apply(x.expand(len(self.weight), *x.shape[1:]), self.weight, self.bias)
        return product


def _stacked(module: nn.Module, count: int) -> None:
    """Replace every linear layer within a module."""
    for name, child in module.named_children():
        if isinstance(child, nn.Linear):
            setattr(module, name, _Linear(child, count))
        elif next(child.parameters(recurse=False), None) is not None:
            raise InputError(f"{type(child).__name__}: a stack's layers with weights must be Linear")
        else:
            _stacked(child, count)


class _Optimizers(Optimizer):
    """The models' own optimisers as one."""

    def __init__(self, each: Sequence[Optimizer]) -> None:
        self.each = each
        super().__init__([parameter for one in each for group in one.param_groups for parameter in group["params"]], {})

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        if closure is not None:
            closure()
        for one in self.each:
            one.step()

    def state_dict(self) -> dict[str, Any]:
        return {"each": [one.state_dict() for one in self.each]}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        for one, state in zip(self.each, state_dict["each"], strict=True):
            one.load_state_dict(state)


class Stack(LightningModule):
    """K models of one architecture, trained together, each as if it were alone.

    They may differ in ``latent_dim``, ``seed`` and the optimiser's arguments. A smaller ``latent_dim`` is padded with
    zero weights that are fed zero noise: mu, logvar, their KL and every gradient there are exactly zero, and stay so.
    Of a model whose loss or weights cease to be finite ``failures`` tells, and the others do not notice. Models with
    the same optimiser are best put side by side, for they then share its steps.

    Batches are ``(images, labels)`` with images ``(U, B, C, H, W)``, or ``(U, S, B, C, H, W)`` for a block of S steps;
    U is the number of different orders of the images, 1 if all models see the same (:class:`StackData` makes them).

    Arguments:
        vaes: the models. Their weights are copied; :meth:`unstack` copies them back.

    Raises:
        InputError: if there is none, two differ in anything else, or a layer with weights is not Linear.

    Example:
        >>> stack = Stack([VAE(latent_dim=2, seed=1), VAE(latent_dim=20, seed=2)])
        >>> stack.elbo(torch.rand(1, 16, 1, 28, 28), torch.zeros(2, 16, 20)).loss.shape
        torch.Size([2, 16])
    """

    def __init__(self, vaes: Sequence[VAE]) -> None:
        super().__init__()
        if not vaes:
            raise InputError("vaes: must be one or more")
        for vae in vaes[1:]:
            for name, value in vaes[0].hparams.items():
                if type(vae) is not type(vaes[0]) or (name not in FREE and vae.hparams[name] != value):
                    raise InputError(f"{name}={vae.hparams[name]}: must be {value} for all models of a stack")
        self.automatic_optimization = False
        self.vaes = tuple(vaes)  # a tuple, so that they are not part of this module
        self.latent_dim = max(vae.latent_dim for vae in vaes)
        self.model = copy.deepcopy(next(vae for vae in vaes if vae.latent_dim == self.latent_dim))
        _stacked(self.model, len(vaes))
        with torch.no_grad():
            for name, weight in self.model.named_parameters():
                for vae, padded in zip(vaes, weight, strict=True):
                    own = vae.get_parameter(name)
                    padded[self._place(vae, own.shape, padded.shape)] = own
        # Of each model that has diverged, by its place: why its numbers are worth nothing.
        self.failures: dict[int, str] = {}

    def _place(self, vae: VAE, shape: torch.Size, padded: torch.Size) -> tuple[Tensor, ...]:
        """Where a model's own weights stand among the padded: mu and logvar are the halves of the encoder's output."""
        places = []
        for own, wide in zip(shape, padded, strict=True):
            place = torch.arange(own)
            if own != wide and own == 2 * vae.latent_dim:
                place[vae.latent_dim :] += self.latent_dim - vae.latent_dim
            places.append(place)
        return torch.meshgrid(*places, indexing="ij")

    def unstack(self) -> tuple[VAE, ...]:
        """The models with the weights, and in the precision, that they have now."""
        with torch.no_grad():
            for k, vae in enumerate(self.vaes):
                vae.to(next(self.parameters()).dtype)
                for name, weight in vae.named_parameters():
                    padded = self.model.get_parameter(name)[k]
                    weight.copy_(padded.cpu()[self._place(vae, weight.shape, padded.shape)])
        return self.vaes

    def elbo(self, images: Tensor, noise: Tensor) -> ELBO:
        """The negative evidence lower bound of each image for each model, ``(K, B)``.

        Arguments:
            images: ``(K, B, C, H, W)``, or ``(1, B, C, H, W)`` if all models see the same.
            noise: ``(K, B, latent_dim)`` from N(0, I), zero beyond a model's own ``latent_dim``.
        """
        return self.model.elbo(images, noise)

    def configure_optimizers(self) -> Optimizer:
        """An optimiser for each run of models that have the same, over their slices of the weights."""
        self._slices, optimizers, first = [], [], 0
        for _, members in groupby(self.vaes, key=lambda vae: vae.hparams["optimizer"]):
            vae, *others = members
            own = slice(first, first := first + 1 + len(others))
            weights = [nn.Parameter(weight.detach()[own]) for weight in self.model.parameters()]
            self._slices.append((own, weights))
            optimizers.append(vae.build_optimizer(weights))
        return _Optimizers(optimizers)

    # Training: one step of every model a batch.

    def on_fit_start(self) -> None:
        if self.trainer.world_size > 1:
            raise InputError(f"devices={self.trainer.world_size}: must be 1, for a stack is trained as one")

    def on_train_epoch_start(self) -> None:
        self._train_noise = self._streams("noise", self.current_epoch)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        images, _ = batch
        steps = images.unbind(1) if images.dim() > 2 + len(self.vaes[0].image_shape) else (images,)
        size = images.shape[-1 - len(self.vaes[0].image_shape)]
        optimizer = self.optimizers()
        assert isinstance(optimizer, LightningOptimizer)
        terms = []
        for x, noise in zip(steps, self._draw(self._train_noise, len(steps) * size).split(size, 1), strict=True):
            elbo = self.elbo(x, noise)
            self.model.zero_grad()
            # The models share no weight, so the gradient of the sum is each one's own.
            self.manual_backward(elbo.loss.mean(1).sum())
            for own, weights in self._slices:
                for part, weight in zip(weights, self.model.parameters(), strict=True):
                    assert weight.grad is not None
                    part.grad = weight.grad[own]
            optimizer.step()
            terms.append([term.detach() for term in elbo])
        elbo = ELBO(*(torch.cat(parts, 1) for parts in zip(*terms, strict=True)))
        self._find_failures(elbo.loss.mean(1))
        self._log_means("train", elbo)

    def _find_failures(self, losses: Tensor) -> None:
        norms = torch.stack([weight.detach().flatten(1).norm(dim=1) for weight in self.model.parameters()]).sum(0)
        for k in (~(losses + norms).isfinite()).nonzero().flatten().tolist():
            self.failures.setdefault(
                k,
                f"the loss is {losses[k].item()} and the weights' norm {norms[k].item()} in epoch "
                f"{self.current_epoch + 1}, up to step {self.global_step}",
            )

    # Validation and test: the noise is the same in each pass, so that passes can be compared.

    def on_validation_epoch_start(self) -> None:
        self._eval_noise = self._streams("evaluation")

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._log_means("val", self._evaluate(batch))

    on_test_epoch_start = on_validation_epoch_start

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._log_means("test", self._evaluate(batch))

    def _evaluate(self, batch: tuple[Tensor, Tensor]) -> ELBO:
        images, _ = batch
        return self.elbo(images[None], self._draw(self._eval_noise, len(images)))

    def _streams(self, name: str, *indices: int) -> list[NormalStream]:
        dtype = next(self.parameters()).dtype
        return [
            NormalStream(generator(vae.seed, name, *indices), vae.latent_dim, self.device, dtype) for vae in self.vaes
        ]

    def _draw(self, streams: Sequence[NormalStream], count: int) -> Tensor:
        """The next rows of each model's stream, ``(K, count, latent_dim)``, zero beyond its own ``latent_dim``."""
        noise = next(self.parameters()).new_zeros(len(streams), count, self.latent_dim)
        for own, stream in zip(noise, streams, strict=True):
            own[:, : stream.size] = stream.draw(count)
        return noise

    def _log_means(self, stage: str, elbo: ELBO) -> None:
        """Log the terms' exact means over the epoch, of the k-th model as ``k/stage/term``."""
        count = elbo.loss.shape[1]
        means = {
            f"{k}/{stage}/{name}": total / count
            for name, totals in elbo.sums().items()
            for k, total in enumerate(totals)
        }
        self.log_dict(means, on_step=False, on_epoch=True, batch_size=count)


class StackData(LightningDataModule):
    """The images of a data module for a :class:`Stack`, each model in the order that its seed gives.

    Training batches are ``(U, B, C, H, W)``, or blocks ``(U, S, B, C, H, W)``, with U = 1 if all seeds are the same and
    else the number of seeds; validation and test batches are those of the data module.

    Arguments:
        data: the images.
        seeds: of the order, for each model of the stack.
    """

    def __init__(self, data: ImageDataModule, seeds: Sequence[int]) -> None:
        super().__init__()
        self.data, self.seeds = data, list(seeds) if len(set(seeds)) > 1 else [seeds[0]]

    def prepare_data(self) -> None:
        self.data.prepare_data()

    def setup(self, stage: str | None = None) -> None:
        self.data.setup(stage)

    def train_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        images = self.data.train
        assert images is not None, "setup() comes first"
        orders = [BlockSampler(len(images), self.data.batch_size, self.data.block_size, seed) for seed in self.seeds]
        return DataLoader(images, batch_size=None, sampler=_Orders(orders))

    def val_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]] | list[tuple[Tensor, Tensor]]:
        return self.data.val_dataloader()

    def test_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        return self.data.test_dataloader()


class _Orders(Sampler[Tensor]):
    """The batches of several orders side by side."""

    def __init__(self, orders: Sequence[BlockSampler]) -> None:
        self.orders = orders

    def set_epoch(self, epoch: int) -> None:
        for order in self.orders:
            order.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.orders[0])

    def __iter__(self) -> Iterator[Tensor]:
        return map(torch.stack, zip(*self.orders, strict=True))
