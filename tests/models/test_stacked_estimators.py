"""Models of every gradient estimator: trained in a stack as alone, their control variates included."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import FewDigits
from lightning.pytorch import Callback, LightningModule, Trainer
from test_stacked_families import SHAPE, Custom, check_stacked_as_alone, loss_of

from vae_lightning.data.stack_data import StackData
from vae_lightning.estimators.rules import POSTERIORS, RULES
from vae_lightning.models import VAE, Stack
from vae_lightning.models.stack_checkpoints import join_checkpoints, split_checkpoint

# Arguments besides the defaults, by name of the case.
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in RULES},
    "moving average": ("ScoreFunction", {"baseline": "moving_average"}),
    "batch mean": ("ScoreFunction", {"baseline": "batch_mean"}),
    "LeaveOneOut, 3": ("LeaveOneOut", {"samples": 3}),
}
BOUND = {"_target_": "vae_lightning.objectives.IWAE", "samples": 3, "doubly_reparameterized": False}


def models(estimator: str, posterior: str, cls: type[VAE] = VAE, latent_dims: tuple[int, ...] = (3, 2)) -> list[VAE]:
    name, arguments = CASES[estimator]
    objective: dict[str, Any] = {"objective": BOUND} if name == "VIMCO" else {}
    return [
        cls(
            latent_dim=latent_dim,
            widths=[6],
            image_shape=SHAPE,
            posterior={"_target_": f"vae_lightning.posteriors.{posterior}"},
            estimator={"_target_": f"vae_lightning.estimators.{name}", **arguments},
            seed=seed,
            **objective,
        ).double()
        for seed, latent_dim in enumerate(latent_dims)
    ]


@pytest.mark.parametrize("cls", [VAE, Custom], ids=["products", "vmap"])
@pytest.mark.parametrize(
    ("estimator", "posterior"),
    [
        (case, posterior)
        for case, (name, _) in CASES.items()
        for posterior in POSTERIORS.get(name, ("Gaussian",))
        # Three latent variables with ten values each are many for a test.
        if (name, posterior) != ("Enumeration", "Categorical")
    ],
)
def test_stacked_as_alone(estimator: str, posterior: str, cls: type[VAE]) -> None:
    """Loss and gradients of each model are those that it has alone, and zero in the padding."""
    images = torch.rand(4, *SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    check_stacked_as_alone(models(estimator, posterior, cls), images)


@pytest.mark.parametrize("estimator", ["NVIL", "Rebar", "Relax"])
def test_a_model_that_diverges_leaves_the_losses_of_the_others(estimator: str) -> None:
    stack = Stack(models(estimator, "Bernoulli"))
    with torch.no_grad():
        for weight in stack.model.encoder.parameters():
            weight[0] = torch.nan
    images = torch.rand(4, *SHAPE, dtype=torch.float64)
    noise = torch.randn(stack.noise_rows, 2, 4, 3, dtype=torch.float64)
    losses = loss_of(stack, images[None], noise)
    assert losses.isfinite().tolist() == [False, True]
    losses.sum().backward()
    assert all(weight.grad is not None and weight.grad[1].isfinite().all() for weight in stack.model.parameters())


def fit(module: Any, data: Any, seeds: list[int] | None = None, **options: Any) -> Trainer:
    trainer = Trainer(
        accelerator="cpu",
        precision="64-true",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **{"max_epochs": 2, **options},
    )
    trainer.fit(module, datamodule=data if seeds is None else StackData(data, seeds))
    return trainer


@pytest.mark.parametrize("estimator", ["moving average", "NVIL", "Relax"])
def test_own_weights_and_their_optimisers_are_those_of_a_model_alone(
    estimator: str, few_digits: Callable[..., FewDigits], tmp_path: Path
) -> None:
    """In a stack, by batches and by blocks, resumed, and with a checkpoint that goes from one to the other."""

    def made() -> list[VAE]:
        name, arguments = CASES[estimator]
        node = {"_target_": f"vae_lightning.estimators.{name}", **arguments}
        bernoulli = {"_target_": "vae_lightning.posteriors.Bernoulli"}
        return [VAE(latent_dim=d, widths=[6], posterior=bernoulli, estimator=node, seed=d) for d in (3, 2, 3)]

    def data(block_size: int = 1) -> FewDigits:
        return few_digits(200, batch_size=20, val_size=40, block_size=block_size)

    alone = []
    for place, vae in enumerate(made()):
        trainer = fit(vae, data(block_size=4 if place == 0 else 1), max_epochs=1)  # either driver
        trainer.save_checkpoint(tmp_path / f"{place}.ckpt")
        alone.append(torch.load(tmp_path / f"{place}.ckpt", weights_only=True))
    whole = made()[:2]
    for vae in whole:
        fit(vae, data())

    # Resumed from its checkpoint.
    resumed = made()[1].double()  # Lightning loads the weights before it converts the model
    trainer = Trainer(
        max_epochs=2,
        accelerator="cpu",
        precision="64-true",
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
    )
    trainer.fit(resumed, datamodule=data(), ckpt_path=tmp_path / "1.ckpt", weights_only=True)
    for weight, expected in zip(resumed.parameters(), whole[1].parameters(), strict=True):
        assert torch.equal(weight, expected)

    # A stack, which the last model leaves after the first epoch.
    class Leave(Callback):
        def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
            if trainer.current_epoch == 0:
                trainer.save_checkpoint(tmp_path / "stack.ckpt")
                pl_module.unstack()  # type: ignore[operator]
                splits.extend(
                    split_checkpoint(pl_module, trainer._checkpoint_connector.dump_checkpoint(), k)  # type: ignore[arg-type]
                    for k in range(3)
                )
                pl_module.keep([0, 1])  # type: ignore[operator]
                trainer.datamodule.keep([0, 1])  # type: ignore[attr-defined]

    splits: list[dict[str, Any]] = []
    stack = Stack(made())
    fit(stack, data(block_size=4), [0, 0, 0], callbacks=[Leave()])
    for vae, same in zip(stack.unstack(), whole, strict=True):
        for (name, weight), reference in zip(vae.named_parameters(), same.parameters(), strict=True):
            torch.testing.assert_close(weight, reference, rtol=0, atol=1e-9, msg=name)
    for split, own in zip(splits, alone, strict=True):
        torch.testing.assert_close(
            split["optimizer_states"], own["optimizer_states"], rtol=1e-7, atol=1e-9, check_dtype=False
        )

    # The checkpoints of models alone, joined to a stack's, and split again.
    models_of_it = made()
    for vae, own in zip(models_of_it, alone, strict=True):
        vae.double().load_state_dict(own["state_dict"])
    joined = Stack(models_of_it)
    optimizer = joined.configure_optimizers()
    joint = join_checkpoints(joined, alone)
    optimizer.load_state_dict(joint["optimizer_states"][0])
    joined.unstack()
    for k, own in enumerate(alone):
        split = split_checkpoint(joined, {**joint, "optimizer_states": [optimizer.state_dict()]}, k)
        torch.testing.assert_close(
            split["optimizer_states"], own["optimizer_states"], rtol=0, atol=0, check_dtype=False
        )
        torch.testing.assert_close(split["state_dict"], own["state_dict"], rtol=0, atol=0)


def test_clipping_leaves_out_the_estimators_own_weights(few_digits: Callable[..., FewDigits]) -> None:
    """Alone and in a stack: their gradients have losses of their own, far larger than the model's."""

    class Norms(Callback):
        def on_train_batch_end(self, trainer: Trainer, pl_module: Any, *arguments: Any) -> None:
            part = getattr(pl_module, "model", pl_module)
            own = [weight.grad for weight in part.estimator.parameters()]
            rest = [weight.grad for name, weight in part.named_parameters() if not name.startswith("estimator.")]
            norms.append([float(torch.nn.utils.get_total_norm(each)) for each in (own, rest)])

    def made() -> VAE:
        return VAE(
            latent_dim=2,
            widths=[6],
            posterior={"_target_": "vae_lightning.posteriors.Bernoulli"},
            estimator={"_target_": "vae_lightning.estimators.NVIL"},
        )

    data = few_digits(200, batch_size=20, val_size=40, block_size=1)
    for module, seeds in ((made(), None), (Stack([made()]), [0])):
        norms: list[list[float]] = []
        fit(module, data, seeds, max_steps=1, gradient_clip_val=0.1, callbacks=[Norms()])
        ((own, rest),) = norms
        assert own > 10
        assert abs(rest - 0.1) < 1e-4
