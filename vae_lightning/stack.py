"""Many VAEs trained as one: each layer of all of them is one batched matrix product, each keeps its own streams."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import groupby
from typing import Any

import torch
from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.core.optimizer import LightningOptimizer
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.optim import Optimizer
from torch.utils.data import DataLoader, Dataset, Sampler

from vae_lightning import cpu, likelihoods
from vae_lightning.checks import InputError
from vae_lightning.data import BlockSampler, ByteImages, ImageDataModule
from vae_lightning.objectives.draws import ELBO, added_up
from vae_lightning.objectives.negative_elbo import NegativeELBO
from vae_lightning.objectives.objective import Objective
from vae_lightning.posterior import PosteriorMoments
from vae_lightning.schedules import scale_lr
from vae_lightning.streams import NormalStream, generator
from vae_lightning.targets import find_class
from vae_lightning.vae import VAE, Posterior, divergence, draw, exactly, log_position

__all__ = ["FREE", "Stack", "StackData", "in_common"]

# What the models of a stack may differ in, beside what their objective allows.
FREE = ("latent_dim", "seed", "optimizer")

# Optimisers that treat each number by itself, so that a stack's step is that of each model; others take norms of whole
# tensors, or factor them.
ELEMENTWISE = ("ASGD", "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop", "Rprop", "SGD")

# Numbers of single precision in a line of a processor's cache. A product whose result begins in mid-line takes 1.4
# times as long.
_LINE = 16

# Layers without weights to which one more leading dimension makes no difference.
_INDIFFERENT = (nn.Sequential, nn.Identity, nn.ReLU, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Softplus, nn.Tanh)


def in_common(hyperparameters: Mapping[str, Any]) -> dict[str, Any]:
    """All of a model's hyperparameters but those in which the models of a stack may differ."""
    common = {name: value for name, value in hyperparameters.items() if name not in FREE}
    if "objective" in common:
        objective = common["objective"]
        free = find_class("objective._target_", objective["_target_"], Objective).FREE  # type: ignore[type-abstract]
        common["objective"] = {name: value for name, value in objective.items() if name not in free}
    return common


class _BatchedLinear(torch.autograd.Function):
    """x W' + b for K layers at once.

    Where W and b have gradients already, these are overwritten: a step then needs no other memory for them. By itself
    autograd would give W's gradient transposed, copy all of it, and add the copy to zeros.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight, bias)
        return torch.baddbmm(bias[:, None], x, weight.mT)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        (gradient,), (x, weight, bias) = gradients, ctx.saved_tensors
        towards_x = torch.bmm(gradient, weight) if ctx.needs_input_grad[0] else None
        if weight.grad is None:
            return towards_x, torch.bmm(gradient.mT, x), gradient.sum(1)
        torch.bmm(gradient.mT, x, out=weight.grad)
        torch.sum(gradient, 1, out=bias.grad)
        return towards_x, None, None


class _Linear(nn.Module):
    """The linear layers of K models as one: ``(..., K, B, in)``, or ``(..., 1, B, in)``, to ``(..., K, B, out)``."""

    def __init__(self, layer: nn.Linear, count: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(layer.weight.new_zeros(count, *layer.weight.shape))
        self.bias = nn.Parameter(layer.weight.new_zeros(count, layer.out_features))

    def forward(self, x: Tensor) -> Tensor:
        count, *before = len(self.weight), *x.shape[:-3]
        # What is in front of the models goes between them and their rows, and back again.
        x = x.expand(*before, count, *x.shape[-2:])
        rows = x.movedim(-3, 0).flatten(1, -2)
        if torch.is_autocast_enabled(x.device.type):  # which knows torch's own functions alone
            product = torch.baddbmm(self.bias[:, None], rows, self.weight.mT)
        else:
            product = _BatchedLinear.apply(rows, self.weight, self.bias)
        restored: Tensor = product.unflatten(1, (*before, x.shape[-2])).movedim(0, -3)
        return restored


def _by_matrix_products(vae: VAE) -> bool:
    """Whether linear layers are all that must be replaced for a model to work on ``(K, ...)`` as it does on ``...``.

    Of a subclass nothing is known, be it a model, a layer or a sequence of layers.
    """
    return (
        type(vae) is VAE
        and type(vae.likelihood).__module__ == likelihoods.__name__
        and all(
            type(layer) in (nn.Linear, *_INDIFFERENT)
            or (type(layer) is nn.Flatten and layer.start_dim < 0)
            or (type(layer) is nn.Unflatten and isinstance(layer.dim, int) and layer.dim < 0)
            for network in (vae.encoder, vae.decoder)
            for layer in network.modules()
        )
    )


def _replace_linear(module: nn.Module, count: int) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.Linear):
            setattr(module, name, _Linear(child, count))
        else:
            _replace_linear(child, count)


class _Method(nn.Module):
    """A method of a model as a module's forward, which is what torch.func calls."""

    def __init__(self, model: VAE, name: str) -> None:
        super().__init__()
        self.model, self.name = model, name

    def forward(self, *arguments: Tensor) -> Any:
        return getattr(self.model, self.name)(*arguments)


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

    They may differ in ``latent_dim``, ``seed``, the optimiser's arguments and the objective's ``beta``. A smaller
    ``latent_dim`` is padded with zero weights that are fed zero noise: mu, logvar, their KL and every gradient there
    are exactly zero, and stay so. Of a model whose loss or weights cease to be finite ``failures`` tells, and the
    others do not notice. Models with the same optimiser are best put side by side, for they then share its steps.

    A :class:`VAE` of linear layers is computed by batched matrix products; any other, with networks or methods of
    one's own, by ``torch.func.vmap`` over the weights of all.

    A training batch is ``(images, labels)``, both lists: of one tensor if all models see the same, else of one for each
    (:class:`StackData` makes them). Images are ``(B, C, H, W)``, or ``(S, B, C, H, W)`` for a block of S steps.

    Arguments:
        vaes: the models. Their weights are copied; :meth:`unstack` copies them back.

    Raises:
        InputError: if there is none, two differ in anything else, their optimiser does not treat each weight by itself,
            or torch.func cannot run the model: one that draws random numbers of its own, as dropout does, or that
            changes itself, as batch normalisation does.

    Example:
        >>> stack = Stack([VAE(latent_dim=2, seed=1), VAE(latent_dim=20, seed=2)])
        >>> stack.elbo(torch.rand(1, 16, 1, 28, 28), torch.zeros(2, 16, 20)).loss.shape
        torch.Size([2, 16])
    """

    own_dims: Tensor

    def __init__(self, vaes: Sequence[VAE]) -> None:
        super().__init__()
        if not vaes:
            raise InputError("vaes: must be one or more")
        for vae in vaes:
            common = in_common(vae.hparams)
            for name, value in in_common(vaes[0].hparams).items():
                if type(vae) is not type(vaes[0]) or common[name] != value:
                    raise InputError(f"{name}={common[name]}: must be {value} for all models of a stack")
            target = str(vae.hparams["optimizer"]["_target_"])
            if target not in [f"torch.optim.{name}" for name in ELEMENTWISE]:
                raise InputError(f"optimizer._target_={target}: must be of torch.optim's {', '.join(ELEMENTWISE)}")
        self.automatic_optimization = False
        self.vaes = tuple(vaes)  # a tuple, so that they are not part of this module
        self.latent_dim = max(vae.latent_dim for vae in vaes)
        self.model = copy.deepcopy(next(vae for vae in vaes if vae.latent_dim == self.latent_dim))
        self.objective, self.estimator, self.schedule = self.model.objective, self.model.estimator, self.model.schedule
        dims = torch.tensor([[vae.latent_dim] for vae in vaes])
        own_dims = (torch.arange(self.latent_dim) < dims).to(next(self.model.parameters()))
        self.register_buffer("own_dims", own_dims[:, None], persistent=False)  # (K, 1, latent_dim)
        self._by_matrix_products = _by_matrix_products(self.model)
        if self._by_matrix_products:
            _replace_linear(self.model, len(vaes))
            self._make_room(self.model.likelihood)
        else:
            for module in self.model.modules():
                self._make_room(module)
        with torch.no_grad():
            for name, weight in self.model.named_parameters():
                for vae, padded in zip(vaes, weight, strict=True):
                    own = vae.get_parameter(name)
                    padded[self._place(vae, own.shape, padded.shape)] = own
        if not self._by_matrix_products:
            self._try()
        for name in self.objective.FREE:
            values = [[getattr(vae.objective, name)] for vae in vaes]
            setattr(self.objective, name, torch.tensor(values, dtype=torch.float64))
        # The models that share an optimiser.
        self._groups: list[slice] = []
        for _, members in groupby(vaes, key=lambda vae: vae.hparams["optimizer"]):
            first = self._groups[-1].stop if self._groups else 0
            self._groups.append(slice(first, first + len(list(members))))
        # Of each model that has diverged, by its place: why its numbers are worth nothing.
        self.failures: dict[int, str] = {}

    def _make_room(self, module: nn.Module) -> None:
        """Give a module's own weights the models in front, all zero."""
        if next(module.buffers(recurse=False), None) is not None:
            raise InputError(f"{type(module).__name__}: a stack's models must have no state but their weights")
        for name, weight in list(module.named_parameters(recurse=False)):
            setattr(module, name, nn.Parameter(weight.new_zeros(len(self.vaes), *weight.shape)))

    def _try(self) -> None:
        """Compare a grey image's loss with each model's own: what a model does to its padding is not known."""
        weights = next(self.model.parameters())
        image = weights.new_full((1, *self.model.image_shape), 0.5)
        try:
            with torch.no_grad():
                found = self.elbo(image[None], weights.new_zeros(len(self.vaes), 1, self.latent_dim)).loss[:, 0]
                own = [vae.elbo(image, weights.new_zeros(1, vae.latent_dim)).loss[0] for vae in self.vaes]
        except Exception as error:  # whatever a model of one's own raises within vmap
            said = " ".join(str(error).split())
            raise InputError(f"{type(self.model).__name__}: torch.func cannot stack it: {said}") from error
        if not torch.allclose(found, torch.stack(own), rtol=1e-3):
            raise InputError(f"{type(self.model).__name__}: cannot be stacked with another latent_dim")

    def _place(self, vae: VAE, shape: torch.Size, padded: torch.Size) -> Any:
        """Where a model's own weights stand among the padded: mu and logvar are the halves of the encoder's output."""
        if shape == padded:
            return ...
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
            for name, weight in self.model.named_parameters():
                for vae, padded in zip(self.vaes, weight.cpu(), strict=True):
                    own = vae.get_parameter(name)
                    own.data = padded[self._place(vae, own.shape, padded.shape)].clone()
        return self.vaes

    @property
    def healthy(self) -> list[int]:
        """The places of the models that have not diverged."""
        return [k for k in range(len(self.vaes)) if k not in self.failures]

    def encode(self, images: Tensor) -> Posterior:
        """Each model's posterior of each image, ``(K, B, latent_dim)``; zero beyond a model's own ``latent_dim``.

        Arguments:
            images: ``(K, B, C, H, W)``, or ``(1, B, C, H, W)`` if all models see the same.
        """
        if self._by_matrix_products:
            mu, logvar = self.model.encode(images)
        else:
            mu, logvar = self._each("encode", (images, 0))
        # Zero is zero already; what this stops are gradients, for a density's in its variance is not zero.
        own = self.own_dims.to(mu)
        return Posterior(mu * own, logvar * own)

    def nll(self, z: Tensor, images: Tensor) -> Tensor:
        """-log p(x|z) in nats of each image for each model, ``(..., K, B)``.

        Arguments:
            z: latents ``(..., K, B, latent_dim)``.
            images: ``(K, B, C, H, W)``, or ``(1, B, C, H, W)`` if all models see the same.
        """
        if self._by_matrix_products:
            return self.model.nll(z, images)
        nll: Tensor = self._each("nll", (z, z.dim() - 3), (images, 0))
        return nll

    def elbo(self, images: Tensor, noise: Tensor) -> ELBO:
        """The negative evidence lower bound of each image for each model, ``(K, B)``.

        Arguments:
            images: ``(K, B, C, H, W)``, or ``(1, B, C, H, W)`` if all models see the same.
            noise: ``(K, B, latent_dim)`` from N(0, I), zero beyond a model's own ``latent_dim``.
        """
        return draw(self, images, noise[None]).elbo()

    def _each(self, method: str, *inputs: tuple[Tensor, int]) -> Any:
        """A method of all models; of each of its arguments the dimension of the models is told, and may have size 1."""
        module = _Method(self.model, method)
        shared = [given.shape[dim] == 1 for given, dim in inputs]
        arguments = [given.squeeze(dim) if one else given for (given, dim), one in zip(inputs, shared, strict=True)]
        dims = tuple(None if one else dim for (_, dim), one in zip(inputs, shared, strict=True))
        each = vmap(partial(functional_call, module), in_dims=(0, dims), out_dims=inputs[0][1])
        return each(dict(module.named_parameters()), tuple(arguments))

    def configure_optimizers(self) -> Optimizer:
        """An optimiser for each run of models that have the same.

        A model's weights become a row of one matrix, and its gradients of another: an optimiser has one tensor to go
        through instead of one a layer, and backward writes where it reads.
        """
        self._rows = next(self.model.parameters()).new_zeros(len(self.vaes), sum(self._widths()))
        self._gradients = torch.zeros_like(self._rows)
        for weight, values in zip(self.model.parameters(), self._columns(self._rows), strict=True):
            weight.data = values.copy_(weight.detach())
        optimizers = []
        for own in self._groups:
            rows = nn.Parameter(self._rows[own])
            rows.grad = self._gradients[own]
            optimizers.append(self.vaes[own.start].build_optimizer([rows]))
        return _Optimizers(optimizers)

    def _widths(self) -> list[int]:
        """How many columns of such a matrix each weight takes: whole lines of a processor's cache."""
        return [weight[0].numel() + -weight[0].numel() % _LINE for weight in self.model.parameters()]

    def _columns(self, rows: Tensor) -> list[Tensor]:
        """A matrix with a row a model as views in the shapes of the weights."""
        parts = zip(rows.split(self._widths(), 1), self.model.parameters(), strict=True)
        return [part[:, : weight[0].numel()].view(len(part), *weight.shape[1:]) for part, weight in parts]

    # A stack's checkpoint as those of its models alone, and back.

    def own_checkpoint(self, checkpoint: Mapping[str, Any], k: int) -> dict[str, Any]:
        """What the k-th model would have saved alone, where Lightning saves the stack; :meth:`unstack` comes before.

        Arguments:
            checkpoint: as the stack's Trainer makes it.
            k: the model's place.
        """
        vae = self.vaes[k]
        hyperparameters = {
            vae.CHECKPOINT_HYPER_PARAMS_NAME: vae._hparams_name,
            vae.CHECKPOINT_HYPER_PARAMS_KEY: dict(vae.hparams),
        }
        states = [self._own_state(state, k) for state in checkpoint.get("optimizer_states", [])]
        return {**checkpoint, **hyperparameters, "state_dict": vae.state_dict(), "optimizer_states": states}

    def _own_state(self, state: Mapping[str, Any], k: int) -> dict[str, Any]:
        group = next(index for index, own in enumerate(self._groups) if own.start <= k < own.stop)
        state, row, vae = state["each"][group], k - self._groups[group].start, self.vaes[k]
        own: dict[int, dict[str, Any]] = {index: {} for index, _ in enumerate(vae.parameters())}
        for key, value in state["state"].get(0, {}).items():
            is_for_each = isinstance(value, Tensor) and value.dim() == 2  # else, as Adam's step, it is for all
            padded = self._columns(value[row : row + 1].cpu()) if is_for_each else ()
            for index, weight in enumerate(vae.parameters()):
                if is_for_each:
                    place = self._place(vae, weight.shape, padded[index].shape[1:])
                    own[index][key] = padded[index][0][place].clone()
                else:  # copied, for an optimiser counts the steps of each weight in a place of its own
                    own[index][key] = copy.deepcopy(value)
        (parameters,) = state["param_groups"]
        return {"state": own if state["state"] else {}, "param_groups": [parameters | {"params": list(own)}]}

    def joint_checkpoint(self, checkpoints: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """A checkpoint from which the stack goes on as each of its models would have from its own.

        Arguments:
            checkpoints: of each model, of the same epoch; their weights are those that the stack was made of.
        """
        states = [
            self._joint_state([checkpoint["optimizer_states"][0] for checkpoint in checkpoints[own]], own)
            for own in self._groups
        ]
        return {
            **checkpoints[0],
            "state_dict": self.state_dict(),
            "optimizer_states": [{"each": states}],
            "callbacks": {},
        }

    def _joint_state(self, states: Sequence[Mapping[str, Any]], own: slice) -> dict[str, Any]:
        joint: dict[str, Any] = {}
        for key, value in states[0]["state"].get(0, {}).items():
            joint[key] = value
            if isinstance(value, Tensor) and value.dim() > 0:
                joint[key] = value.new_zeros(len(states), sum(self._widths()))
                for row, (vae, state) in enumerate(zip(self.vaes[own], states, strict=True)):
                    for index, padded in enumerate(self._columns(joint[key][row : row + 1])):
                        given = state["state"][index][key]
                        padded[0][self._place(vae, given.shape, padded.shape[1:])] = given
        (parameters,) = states[0]["param_groups"]
        return {"state": {0: joint} if joint else {}, "param_groups": [parameters | {"params": [0]}]}

    # Training: one step of every model a batch.

    def on_fit_start(self) -> None:
        if self.trainer.world_size > 1:
            raise InputError(f"devices={self.trainer.world_size}: must be 1, for a stack is trained as one")
        if self.device.type == "cpu":
            cpu.prepare()

    def on_train_epoch_start(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._count = 0
        self._train_noise = self._streams("noise", self.current_epoch)

    def training_step(self, batch: tuple[Sequence[Tensor], Sequence[Tensor]], batch_idx: int) -> None:
        images, _ = batch
        in_blocks = images[0].dim() > 1 + len(self.vaes[0].image_shape)
        # Side by side a step at a time: a block's images would be more than an allocator keeps, and new every time.
        steps = [*zip(*images, strict=True)] if in_blocks else [tuple(images)]
        size = len(steps[0][0])
        optimizer = self.optimizers()
        assert isinstance(optimizer, LightningOptimizer)
        assert isinstance(optimizer.optimizer, _Optimizers)
        each = optimizer.optimizer.each
        # Here, since the Trainer takes gradients away before training and at every validation.
        for weight, gradient in zip(self.model.parameters(), self._columns(self._gradients), strict=True):
            weight.grad = gradient
        # Of _BatchedLinear they are overwritten, of others added to.
        overwritten = self._by_matrix_products and not torch.is_autocast_enabled(self.device.type)
        others = self.model.likelihood.parameters() if overwritten else ()
        added = [weight.grad for weight in others if weight.grad is not None] if overwritten else [self._gradients]
        terms = []
        samples = self.objective.samples
        noises = self._draw(self._train_noise, len(steps) * samples * size).split(samples * size, 1)
        for x, noise in zip(map(torch.stack, steps), noises, strict=True):
            draws = draw(self, x, noise.unflatten(1, (samples, size)).movedim(1, 0))
            objective = self.estimator.loss(self.objective(draws, self.global_step), draws)
            for gradient in added:
                gradient.zero_()
            # The models share no weight, so the gradient of the sum is each one's own.
            self.manual_backward(objective.mean(1).sum())
            scale_lr(each, self.schedule(self.global_step))
            optimizer.step()
            terms.append((objective.detach(), draws.nll.detach(), draws.kl.detach()))
        objectives, nlls, kls = zip(*terms, strict=True)
        objective, elbo = torch.cat(objectives, -1), ELBO.of(torch.cat(nlls, -1), torch.cat(kls, -2))
        self._find_failures(objective.mean(1))
        sums = elbo.sums()
        if type(self.objective) is not NegativeELBO:  # which is train/loss
            sums["objective"] = added_up(objective)
        # Once an epoch, for Lightning takes a millisecond for each number of each model.
        sums["gradient_norm"] = self._gradients.norm(dim=1) * objective.shape[1]
        self._sums = {name: total + self._sums.get(name, 0) for name, total in sums.items()}
        self._count += objective.shape[1]
        if self.trainer.is_last_batch:
            self._log_means("train", self._sums, self._count)
            rates = [
                one.param_groups[0]["lr"] for own, one in zip(self._groups, each, strict=True) for _ in self.vaes[own]
            ]
            self._log_each("train/lr", exactly(rates), batch_size=1)
        self.log("loss", objective.mean(1).nanmean(), prog_bar=True, logger=False)

    def on_train_epoch_end(self) -> None:
        log_position(self)

    def _find_failures(self, losses: Tensor) -> None:
        norms = self._rows.norm(dim=1)
        for k in (~(losses + norms).isfinite()).nonzero().flatten().tolist():
            optimizer = self.vaes[k].hparams["optimizer"]
            self.failures.setdefault(
                k,
                divergence(losses[k], norms[k], self.current_epoch, self.global_step, optimizer.get("lr")),
            )

    # Validation and test: the noise is the same in each pass, so that passes can be compared.

    def on_validation_epoch_start(self) -> None:
        self._eval_noise = self._streams("evaluation")
        self._posteriors = PosteriorMoments()

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._evaluate("val", batch)

    def on_validation_epoch_end(self) -> None:
        kl, active = self._posteriors.result()
        for vae, own in zip(self.vaes, kl, strict=True):
            vae.kl_by_dimension = own[: vae.latent_dim]
        self._log_each(f"{'test' if self.trainer.testing else 'val'}/active_units", active.sum(-1).double())
        log_position(self)

    on_test_epoch_start = on_validation_epoch_start

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self._evaluate("test", batch)

    on_test_epoch_end = on_validation_epoch_end

    def _evaluate(self, stage: str, batch: tuple[Tensor, Tensor]) -> None:
        images, _ = batch
        draws = draw(self, images[None], self._draw(self._eval_noise, len(images))[None])
        self._posteriors.add(draws.mu, draws.kl)
        self._log_means(stage, draws.elbo().sums(), len(images))

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

    def _log_means(self, stage: str, sums: Mapping[str, Tensor], count: int) -> None:
        """Log the terms' exact means over the epoch, of the k-th model as ``k/stage/term``."""
        means = {
            f"{k}/{stage}/{name}": total / count for name, totals in sums.items() for k, total in enumerate(totals)
        }
        self.log_dict(means, on_step=False, on_epoch=True, batch_size=count)

    def _log_each(self, name: str, values: Tensor, **options: Any) -> None:
        self.log_dict({f"{k}/{name}": value for k, value in enumerate(values)}, on_step=False, on_epoch=True, **options)


class StackData(LightningDataModule):
    """The images of a data module for a :class:`Stack`, each model in the order that its seed gives.

    Training batches are those of the data module, in lists: of one if all seeds are the same, else of one for each
    seed; equal seeds share theirs. Validation and test batches are those of the data module.

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

    def train_dataloader(self) -> DataLoader[tuple[list[Tensor], list[Tensor]]]:
        orders = list(dict.fromkeys(self.seeds))
        each, samplers = zip(*map(self.data.training, orders), strict=True)
        images = _Each(each, [orders.index(seed) for seed in self.seeds])
        return DataLoader(images, batch_size=None, sampler=_Orders(samplers))

    def val_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]] | list[tuple[Tensor, Tensor]]:
        return self.data.val_dataloader()

    def test_dataloader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        return self.data.test_dataloader()


class _Each(Dataset[tuple[list[Tensor], list[Tensor]]]):
    """For each model the images of the order in its place; each order gets its row of the indices."""

    def __init__(self, orders: Sequence[ByteImages], places: Sequence[int]) -> None:
        self.orders, self.places = orders, places

    def __getitem__(self, index: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        drawn = [order[rows] for order, rows in zip(self.orders, index, strict=True)]
        images, labels = zip(*(drawn[place] for place in self.places), strict=True)
        return [*images], [*labels]


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
