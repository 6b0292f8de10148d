"""A stack gives each model what it would have had alone."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from conftest import FewDigits
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from vae_lightning import VAE, InputError
from vae_lightning.data.stack_data import StackData
from vae_lightning.models.stack import Stack
from vae_lightning.models.stack_checkpoints import join_checkpoints, split_checkpoint
from vae_lightning.streams import seeded

ADAM = {"_target_": "torch.optim.Adam", "fused": True}


def vae(latent_dim: int = 5, seed: int = 0, **optimizer: Any) -> VAE:
    return VAE(latent_dim, widths=(32,), seed=seed, optimizer={**ADAM, "lr": 1e-3, **optimizer})


def different() -> list[VAE]:
    return [
        vae(2, seed=1),
        vae(5, seed=2, lr=3e-3),
        vae(20, seed=3, betas=[0.8, 0.99]),
        vae(20, seed=3, _target_="torch.optim.AdamW", weight_decay=0.1),
    ]


@pytest.fixture
def data(few_digits: Callable[..., FewDigits]) -> Callable[..., FewDigits]:
    return lambda **options: few_digits(1000, **{"batch_size": 64, "val_size": 200, "block_size": 4, **options})


def fitted(
    module: Any, data: Any, epochs: int = 1, precision: Any = "64-true", callbacks: Sequence[Callback] = ()
) -> dict[str, float]:
    trainer = Trainer(
        max_epochs=epochs,
        callbacks=[*callbacks],
        accelerator="cpu",
        precision=precision,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, datamodule=data)
    found = dict(trainer.callback_metrics)
    trainer.test(module, datamodule=data, verbose=False)
    return {name: float(value) for name, value in (found | trainer.callback_metrics).items()}


@pytest.mark.parametrize(("precision", "tolerance"), [("64-true", 1e-10), ("32-true", 1e-5), ("bf16-mixed", 3e-3)])
@pytest.mark.parametrize("same_order", [True, False])
def test_each_model_of_a_stack_is_trained_as_if_alone(
    precision: str, tolerance: float, same_order: bool, data: Callable[..., FewDigits]
) -> None:
    models = different()
    seeds = [0 if same_order else model.seed for model in models]
    stack = Stack(models)
    together = fitted(stack, StackData(data(), seeds), precision=precision)
    unstacked = stack.unstack()
    for k, (seed, model) in enumerate(zip(seeds, different(), strict=True)):
        alone = fitted(model, data(seed=seed), precision=precision)
        names = {name for name in alone if "/" in name}
        assert names >= {"train/loss", "train/gradient_norm", "train/lr", "val/active_units", "test/kl"}
        for name in names:
            assert together[f"{k}/{name}"] == pytest.approx(alone[name], rel=tolerance), (k, name)
        kl, expected_kl = unstacked[k].kl_by_dimension, model.kl_by_dimension
        assert kl is not None
        torch.testing.assert_close(kl, expected_kl, rtol=tolerance * 10, atol=tolerance)
        for weight, expected in zip(unstacked[k].parameters(), model.parameters(), strict=True):
            torch.testing.assert_close(weight.double(), expected.double(), rtol=0, atol=tolerance * 10)


def test_images_of_equal_seeds_are_the_same_memory(data: Callable[..., FewDigits]) -> None:
    for seeds, expected in (([3, 7, 3], [0, 1, 0]), ([3, 3, 3], [0])):
        stacked = StackData(data(binarisation="dynamic"), seeds)
        stacked.setup()
        for parts in next(iter(stacked.train_dataloader())):
            places = [part.data_ptr() for part in parts]
            assert [places.index(place) for place in places] == expected


class Convolutional(VAE):
    """Networks of one's own, made of standard layers."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        with seeded(self.seed, "initialisation"):
            self.encoder = nn.Sequential(
                nn.Conv2d(1, 4, 5, stride=4),
                nn.GroupNorm(2, 4),
                nn.ReLU(),
                nn.Flatten(),
                nn.Linear(144, 2 * self.latent_dim),
            )
            self.decoder = nn.Sequential(
                nn.Linear(self.latent_dim, 784), nn.Unflatten(-1, (16, 7, 7)), nn.ConvTranspose2d(16, 1, 4, stride=4)
            )


class Flat(nn.Sequential):
    """Linear layers and a forward of its own, which takes one batch dimension."""

    def __init__(self, image_shape: tuple[int, ...], latent_dim: int) -> None:
        super().__init__(nn.Linear(784, 8), nn.Tanh(), nn.Linear(8, 2 * latent_dim))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = super().forward(x.flatten(1))
        return y


NETWORKS: dict[str, dict[str, Any]] = {
    "conv": {
        "encoder": {"_target_": "vae_lightning.networks.ConvEncoder", "channels": [2, 3]},
        "decoder": {"_target_": "vae_lightning.networks.ConvDecoder", "channels": [3, 2]},
    },
    "residual": {
        "encoder": {"_target_": "vae_lightning.networks.ResidualEncoder", "channels": [2, 3]},
        "decoder": {"_target_": "vae_lightning.networks.ResidualDecoder", "channels": [3, 2]},
    },
    "own": {"encoder": {"_target_": f"{__name__}.Flat"}},
}


@pytest.mark.parametrize("networks", ["subclass", *NETWORKS])
def test_other_networks_are_trained_as_if_alone(networks: str, data: Callable[..., FewDigits]) -> None:
    def models() -> list[VAE]:
        kind = Convolutional if networks == "subclass" else VAE
        return [kind(latent_dim=size, seed=size, **NETWORKS.get(networks, {})) for size in (3, 7)]

    together = fitted(Stack(models()), StackData(data(), [3, 7]))
    for k, model in enumerate(models()):
        alone = fitted(model, data(seed=model.seed))
        for name in ("train/loss", "val/kl", "test/loss"):
            assert together[f"{k}/{name}"] == pytest.approx(alone[name], rel=1e-10), (k, name)


class Noisy(VAE):
    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.encoder = nn.Sequential(nn.Dropout(), self.encoder)


class Normalised(VAE):
    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.encoder = nn.Sequential(nn.BatchNorm2d(1), self.encoder)


class Scaled(VAE):
    """One whose padding would not be nothing: its posteriors depend on how many dimensions there are."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.encoder = nn.Sequential(self.encoder, nn.LayerNorm(2 * self.latent_dim, elementwise_affine=False))


OBJECTIVES = "vae_lightning.objectives."
CHOICES: dict[str, dict[str, Any]] = {
    "free bits": {"objective": {"_target_": OBJECTIVES + "FreeBits", "free_nats": 0.2}},
    "IWAE": {"objective": {"_target_": OBJECTIVES + "IWAE", "samples": 3}},
    "IWAE as it comes": {"objective": {"_target_": OBJECTIVES + "IWAE", "doubly_reparameterized": False}},
    "continuous Bernoulli": {"likelihood": {"_target_": "vae_lightning.likelihoods.ContinuousBernoulli"}},
    "Gaussian": {"likelihood": {"_target_": "vae_lightning.likelihoods.Gaussian"}},
    "score function": {"estimator": {"_target_": "vae_lightning.estimators.ScoreFunction", "baseline": True}},
    "no gradient": {"estimator": {"_target_": "vae_lightning.estimators.NoGradient"}},
    "cosine": {"schedule": {"_target_": "vae_lightning.schedules.Cosine", "steps": 15, "warmup_steps": 5}},
    "shape": {"widths": (32, 16), "decoder_widths": (24,), "activation": "tanh"},
    "no hidden layer": {"widths": ()},
    "any activation": {"activation": {"_target_": "torch.nn.LeakyReLU", "negative_slope": 0.3}},
}


@pytest.mark.parametrize("networks", ["linear", "conv"])
@pytest.mark.parametrize("choice", ["beta", *CHOICES])
def test_what_is_trained_and_how_makes_no_difference(
    choice: str, networks: str, data: Callable[..., FewDigits]
) -> None:
    if networks == "conv" and choice in ("shape", "no hidden layer", "any activation"):
        return
    warm_up = {"_target_": "vae_lightning.schedules.WarmUp", "steps": 20}

    def models() -> list[VAE]:
        def options(beta: float) -> dict[str, Any]:
            if choice == "beta":
                return {"objective": {"_target_": OBJECTIVES + "BetaELBO", "beta": beta, "schedule": warm_up}}
            return CHOICES[choice]

        own = NETWORKS.get(networks, {"widths": (32,)})
        return [VAE(size, seed=size, **own | options(beta)) for size, beta in ((3, 0.1), (7, 3.0))]

    together = fitted(Stack(models()), StackData(data(binarisation="dynamic"), [3, 7]))
    for k, model in enumerate(models()):
        alone = fitted(model, data(seed=model.seed, binarisation="dynamic"))
        names = ["train/loss", "val/kl", "test/loss"]
        if choice in ("beta", "free bits", "IWAE", "IWAE as it comes"):
            names.append("train/objective")
        for name in names:
            assert together[f"{k}/{name}"] == pytest.approx(alone[name], rel=1e-10), (k, name)


def test_models_that_cannot_be_stacked_are_refused() -> None:
    Stack([Scaled(latent_dim=2, seed=seed) for seed in (0, 1)])
    with pytest.raises(InputError, match="Scaled: cannot be stacked with another latent_dim"):
        Stack([Scaled(latent_dim=2), Scaled(latent_dim=5)])
    with pytest.raises(InputError, match="BatchNorm2d: a stack's models must have no state except their weights"):
        Stack([Normalised()])
    with pytest.raises(InputError, match=r"Noisy: torch\.func cannot stack it: .*random"):
        Stack([Noisy()])
    said = r"optimizer\._target_=torch\.optim\.Adafactor: must be one of torch\.optim's"
    with pytest.raises(InputError, match=said):
        Stack([VAE(optimizer={"_target_": "torch.optim.Adafactor"})])


@pytest.mark.parametrize("target", ["torch.optim.Adam", "torch.optim.RMSprop", "torch.optim.NAdam"])
def test_checkpoints_of_models_make_that_of_their_stack_and_back(target: str, data: Callable[..., FewDigits]) -> None:
    """Every number of an optimiser's state is somewhere else in the stack, and comes back to where it was."""
    models = [VAE(n, widths=(8,), optimizer={"_target_": target, "lr": lr}) for lr in (1e-3, 2e-3) for n in (2, 5)]
    alone = []
    for model in models:
        trainer = Trainer(
            max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, limit_val_batches=0
        )
        trainer.fit(model, datamodule=data())
        alone.append(
            {"epoch": 0, "state_dict": model.state_dict(), "optimizer_states": [trainer.optimizers[0].state_dict()]}
        )
    stack = Stack(models)
    joint = join_checkpoints(stack, alone)
    optimizer = stack.configure_optimizers()
    optimizer.load_state_dict(joint["optimizer_states"][0])
    stack.unstack()
    for k, expected in enumerate(alone):
        own = split_checkpoint(stack, {**joint, "optimizer_states": [optimizer.state_dict()]}, k)
        torch.testing.assert_close(own["optimizer_states"], expected["optimizer_states"], rtol=0, atol=0)
        torch.testing.assert_close(own["state_dict"], expected["state_dict"], rtol=0, atol=0)
        assert own["hyper_parameters"] == dict(models[k].hparams)


def test_padding_stays_exactly_zero(data: Callable[..., FewDigits]) -> None:
    stack = Stack([vae(2, weight_decay=0.1), vae(20)])
    fitted(stack, StackData(data(), [0, 0]), epochs=3, precision="32-true")
    weights = dict(stack.model.named_parameters())
    first_of_decoder = weights["decoder.0.weight"][0]
    assert first_of_decoder[:, 2:].abs().max() == 0
    assert first_of_decoder[:, :2].abs().min() > 0
    heads = weights["encoder.3.weight"][0]
    assert heads[2:20].abs().max() == 0
    assert heads[22:].abs().max() == 0
    assert heads[:2].abs().sum() > 0
    assert heads[20:22].abs().sum() > 0


def test_a_model_that_diverges_does_not_change_the_others_by_a_bit(data: Callable[..., FewDigits]) -> None:
    healthy, sick = (Stack([vae(5), vae(5, lr=lr), vae(5, seed=1)]) for lr in (2e-3, 1e30))
    expected, found = (
        fitted(stack, StackData(data(), [0, 0, 0]), epochs=2, precision="32-true") for stack in (healthy, sick)
    )
    assert list(sick.failures) == [1]
    assert "in epoch 1" in sick.failures[1]
    assert found["0/test/loss"] == expected["0/test/loss"]
    assert found["2/test/loss"] == expected["2/test/loss"]
    for name, weight in healthy.model.named_parameters():
        assert torch.equal(sick.model.get_parameter(name)[0], weight[0])
        assert torch.equal(sick.model.get_parameter(name)[2], weight[2])


def test_stacking_and_unstacking_changes_nothing(images: Tensor) -> None:
    models = different()
    before = [model.reconstruct(images) for model in models]
    for model, expected in zip(Stack(models).unstack(), before, strict=True):
        assert torch.equal(model.reconstruct(images), expected)


def test_the_elbo_of_a_stack_is_that_of_its_models(images: Tensor) -> None:
    models = different()
    noise = torch.zeros(4, len(images), 20)
    for own, model in zip(noise, models, strict=True):
        own[:, : model.latent_dim] = torch.randn(len(images), model.latent_dim)
    for given in (images[None], images.expand(4, *images.shape)):
        together = Stack(models).elbo(given, noise)
        for k, model in enumerate(models):
            alone = model.elbo(images, noise[k, :, : model.latent_dim])
            torch.testing.assert_close(together.loss[k], alone.loss)
            torch.testing.assert_close(together.kl[k], alone.kl)


def test_models_of_another_architecture_are_refused() -> None:
    with pytest.raises(InputError, match=r"widths=\[64\]: must be \[32\] for all models of a stack"):
        Stack([vae(), VAE(widths=(64,))])
    with pytest.raises(InputError, match=r"encoder=.*: must be None for all models of a stack"):
        Stack([VAE(), VAE(**NETWORKS["own"])])
    with pytest.raises(InputError, match="vaes: must be one or more"):
        Stack([])


class Leave(Callback):
    """Lets models leave the stack at the end of epochs, given by the indices of those that stay."""

    works_in_blocks = True

    def __init__(self, kept: Sequence[Sequence[int]]) -> None:
        self.kept = kept

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.current_epoch < len(self.kept):
            assert isinstance(pl_module, Stack)
            pl_module.unstack()
            pl_module.keep(self.kept[trainer.current_epoch])
            trainer.datamodule.keep(self.kept[trainer.current_epoch])  # type: ignore[attr-defined]


def beta(value: float) -> dict[str, Any]:
    warm_up = {"_target_": "vae_lightning.schedules.WarmUp", "steps": 20}
    return {"_target_": "vae_lightning.objectives.BetaELBO", "beta": value, "schedule": warm_up}


COSINE = {"_target_": "vae_lightning.schedules.Cosine", "steps": 30, "warmup_steps": 5}
LEAVING: dict[str, Callable[[], list[VAE]]] = {
    "optimisers": different,
    "vmap": lambda: [Convolutional(latent_dim=5, seed=seed) for seed in range(4)],
    "objectives": lambda: [
        VAE(dim, widths=(32,), seed=dim, objective=beta(weight), schedule=COSINE, optimizer={**ADAM, "lr": lr})
        for dim, weight, lr in ((2, 0.5, 1e-3), (9, 2.0, 1e-3), (5, 1.0, 3e-3), (5, 3.0, 1e-2))
    ],
}


@pytest.mark.parametrize(
    ("precision", "tolerance", "block_size", "same_order"),
    [("64-true", 1e-10, 1, True), ("64-true", 1e-10, 4, False), ("32-true", 1e-5, 4, True)],
)
@pytest.mark.parametrize("models", list(LEAVING))
def test_those_that_stay_in_a_stack_train_on_as_if_alone(
    models: str, precision: str, tolerance: float, block_size: int, same_order: bool, data: Callable[..., FewDigits]
) -> None:
    # Of four models, the last leaves after the first epoch and the first after the second; two train three epochs.
    together, epochs = LEAVING[models](), (2, 3, 3, 1)
    seeds = [0 if same_order else place for place in range(4)]
    stack, own = Stack(together), data(block_size=block_size)
    found = fitted(stack, StackData(own, seeds), 3, precision, [Leave([[0, 1, 2], [1, 2]])])
    assert stack.places == [1, 2]
    assert all(len(weight) == 2 for weight in stack.parameters())
    stack.unstack()
    for place, (model, trained) in enumerate(zip(LEAVING[models](), epochs, strict=True)):
        alone = fitted(model, data(block_size=block_size, seed=seeds[place]), trained, precision)
        names = [name for name in alone if "/" in name and (place in stack.places or not name.startswith("test/"))]
        for name in names:
            assert found[f"{place}/{name}"] == pytest.approx(alone[name], rel=tolerance), (place, name)
        for weight, expected in zip(together[place].parameters(), model.parameters(), strict=True):
            torch.testing.assert_close(weight.double(), expected.double(), rtol=0, atol=tolerance * 20)


def test_models_may_leave_a_stack_before_it_is_trained(images: Tensor) -> None:
    models = different()
    stack = Stack(models)
    before = stack.elbo(images[None], torch.zeros(4, len(images), 20)).loss
    stack.keep([1, 3])
    assert stack.vaes == (models[1], models[3])
    torch.testing.assert_close(stack.elbo(images[None], torch.zeros(2, len(images), 20)).loss, before[[1, 3]])
