"""Lightning's callbacks and Trainer arguments do to a VAE what they do to the same model in a plain LightningModule."""

import inspect
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch.callbacks as lc
import pytest
import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from torch import Tensor

from vae_lightning import VAE, InputError, MNIST5kDataModule, Stack, StackData
from vae_lightning.streams import NormalStream, generator

LR = 1e-3


class Plain(LightningModule):
    """A VAE's loss in a LightningModule as Lightning's documentation writes one."""

    def __init__(self, vae: VAE) -> None:
        super().__init__()
        self.encoder, self.decoder, self.lr = vae.encoder, vae.decoder, LR
        self.loss = vae.elbo  # a method, so that the VAE is no submodule

    def elbo(self, images: Tensor, noise: NormalStream) -> Tensor:
        noise.dtype = next(self.parameters()).dtype
        return self.loss(images, noise.draw(len(images))).loss.sum() * (1 / len(images))

    def on_train_epoch_start(self) -> None:
        self.train_noise = NormalStream(generator(0, "noise", self.current_epoch), 20)

    def on_validation_epoch_start(self) -> None:
        self.eval_noise = NormalStream(generator(0, "evaluation"), 20)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return self.elbo(batch[0], self.train_noise)

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self.log("val/loss", self.elbo(batch[0], self.eval_noise), batch_size=len(batch[0]))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.lr, fused=True)


def fit(
    model: LightningModule,
    folder: Path,
    callbacks: list[Callback],
    data: LightningDataModule | None = None,
    **options: Any,
) -> Trainer:
    quiet: dict[str, Any] = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    if any(isinstance(callback, lc.Checkpoint) for callback in callbacks):
        del quiet["enable_checkpointing"]
    if any(isinstance(callback, lc.ProgressBar) for callback in callbacks):
        del quiet["enable_progress_bar"]
    if any(isinstance(callback, lc.ModelSummary) for callback in callbacks):
        del quiet["enable_model_summary"]
    if options.get("barebones"):
        quiet = {}
    else:
        quiet["logger"] = CSVLogger(folder)
    trainer = Trainer(
        **{
            "max_epochs": 2,
            "accelerator": "cpu",
            "num_sanity_val_steps": 0,
            "default_root_dir": folder,
            "callbacks": callbacks,
            **quiet,
            **options,
        }
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer.fit(model, datamodule=data or MNIST5kDataModule(batch_size=64, val_size=2400))
    return trainer


def check_same(folder: Path, callbacks: Callable[[], list[Callback]], blocks: bool, **options: Any) -> Trainer:
    """Compare the weights, the steps and the losses of a VAE with those of the plain LightningModule."""
    vae, plain = VAE(seed=0), Plain(VAE(seed=0))
    trainer = fit(vae, folder / "vae", callbacks(), **options)
    expected = fit(plain, folder / "plain", callbacks(), **options)
    assert (trainer.datamodule.steps_per_batch(trainer, vae) > 1) == blocks  # type: ignore[attr-defined]
    assert (trainer.global_step, trainer.current_epoch) == (expected.global_step, expected.current_epoch)
    for name, weight in plain.state_dict().items():
        torch.testing.assert_close(vae.state_dict()[name], weight, rtol=0, atol=0, msg=name)
    if "val/loss" in expected.callback_metrics:
        assert float(trainer.callback_metrics["val/loss"]) == pytest.approx(
            float(expected.callback_metrics["val/loss"])
        )
    return trainer


@pytest.mark.parametrize(
    ("options", "blocks"),
    [
        ({}, True),
        ({"accumulate_grad_batches": 3}, False),
        ({"barebones": True}, True),
        ({"benchmark": True}, True),
        ({"check_val_every_n_epoch": 2}, True),
        ({"check_val_every_n_epoch": None, "val_check_interval": 30}, False),
        ({"detect_anomaly": True}, True),
        ({"deterministic": True}, True),
        ({"fast_dev_run": True}, False),
        ({"fast_dev_run": 3}, False),
        ({"gradient_clip_val": 20.0}, False),
        ({"gradient_clip_val": 0.5, "gradient_clip_algorithm": "value"}, False),
        ({"inference_mode": False}, True),
        ({"limit_train_batches": 5}, False),
        ({"limit_train_batches": 0.5}, False),
        ({"limit_val_batches": 1}, True),
        ({"limit_val_batches": 0}, True),
        ({"log_every_n_steps": 1}, True),
        ({"max_steps": 21}, True),
        ({"max_steps": 21, "max_epochs": -1}, True),
        ({"max_time": "00:01:00:00"}, False),
        ({"min_epochs": 2, "min_steps": 5}, True),
        ({"num_sanity_val_steps": 2}, True),
        ({"overfit_batches": 3}, False),
        ({"precision": "64-true"}, True),
        ({"precision": "bf16-mixed"}, True),
        ({"profiler": "simple"}, True),
        ({"profiler": "advanced"}, True),
        ({"profiler": "pytorch"}, False),
        ({"reload_dataloaders_every_n_epochs": 1}, True),
        ({"sync_batchnorm": True}, True),
        ({"use_distributed_sampler": False}, True),
        ({"val_check_interval": 0.5}, False),
        ({"val_check_interval": 7}, False),
    ],
    ids=str,
)
def test_an_argument_of_the_trainer(options: dict[str, Any], blocks: bool, tmp_path: Path) -> None:
    check_same(tmp_path, list, blocks, **options)


class Freezing(lc.BaseFinetuning):
    def freeze_before_training(self, pl_module: LightningModule) -> None:
        self.freeze(pl_module.decoder)

    def finetune_function(self, pl_module: LightningModule, epoch: int, optimizer: torch.optim.Optimizer) -> None:
        if epoch == 1:
            self.unfreeze_and_add_param_group(pl_module.decoder, optimizer, lr=LR)


def halve(trainer: Trainer, pl_module: LightningModule, *_: Any) -> None:
    with torch.no_grad():
        for weight in pl_module.parameters():
            weight.mul_(0.999)


@pytest.mark.parametrize(
    ("callback", "blocks"),
    [
        (lambda: lc.BatchSizeFinder(steps_per_trial=1, max_trials=1, init_val=32), False),
        (lambda: lc.DeviceStatsMonitor(cpu_stats=False), False),
        (lambda: lc.EMAWeightAveraging(decay=0.9), False),
        (lambda: lc.EarlyStopping("val/loss", min_delta=1e9, patience=1), True),
        (lambda: lc.GradientAccumulationScheduler({0: 1, 1: 2}), False),
        (lambda: lc.LambdaCallback(on_train_batch_end=halve), False),
        (lambda: lc.LambdaCallback(on_train_epoch_end=halve), True),
        (lambda: lc.LearningRateFinder(num_training_steps=20), False),
        (lambda: lc.LearningRateMonitor(), False),
        (lambda: lc.LearningRateMonitor("epoch"), True),
        (lambda: lc.ModelCheckpoint(monitor="val/loss"), True),
        (lambda: lc.ModelCheckpoint(every_n_train_steps=7, save_top_k=-1), False),
        (lambda: lc.ModelPruning("l1_unstructured", amount=0.3), True),
        (lambda: lc.ModelSummary(), True),
        (lambda: lc.OnExceptionCheckpoint("."), True),
        (lambda: lc.RichModelSummary(), True),
        (lambda: lc.RichProgressBar(), True),
        (lambda: lc.StochasticWeightAveraging(swa_lrs=1e-2, swa_epoch_start=1), False),
        (lambda: lc.TQDMProgressBar(), True),
        (lambda: lc.ThroughputMonitor(lambda batch: len(batch[0])), False),
        (lambda: lc.Timer("00:01:00:00"), False),
        (lambda: lc.WeightAveraging(), False),
        (lambda: Freezing(), False),
    ],
)
def test_a_callback(callback: Callable[[], Callback], blocks: bool, tmp_path: Path) -> None:
    check_same(tmp_path, lambda: [callback()], blocks)


@pytest.mark.parametrize(
    "options",
    [
        {"accumulate_grad_batches": 3},
        {"gradient_clip_val": 20.0},
        {"gradient_clip_val": 0.5, "gradient_clip_algorithm": "value"},
        {"limit_train_batches": 5},
        {"max_steps": 21},
        {"val_check_interval": 7},
    ],
    ids=str,
)
def test_an_argument_of_the_trainer_in_a_stack(options: dict[str, Any], tmp_path: Path) -> None:
    """In double precision, because a stack adds up in another order."""
    options = {**options, "precision": "64-true"}
    # Their losses, and so the effect of clipping, differ.
    alone = [VAE(latent_dim, seed=seed) for latent_dim, seed in ((2, 0), (20, 1))]
    stack = Stack([VAE(latent_dim, seed=seed) for latent_dim, seed in ((2, 0), (20, 1))])
    data = MNIST5kDataModule(batch_size=64, val_size=2400)
    trainer = fit(stack, tmp_path / "stack", [], data=StackData(data, [0, 0]), **options)
    for k, (vae, stacked) in enumerate(zip(alone, stack.unstack(), strict=True)):
        expected = fit(vae, tmp_path / str(k), [], **options)
        assert trainer.global_step == expected.global_step
        for name, weight in vae.state_dict().items():
            torch.testing.assert_close(stacked.state_dict()[name], weight, rtol=0, atol=1e-9, msg=name)


LIGHTNING_PAGE = (Path(__file__).parents[2] / "docs/how_to/lightning.md").read_text()


@pytest.mark.parametrize("name", [*inspect.signature(Trainer).parameters, *lc.__all__])
def test_the_page_on_lightning_has_a_row_for_each_argument_and_callback(name: str) -> None:
    rows = [line.split("|")[1] for line in LIGHTNING_PAGE.splitlines() if line.startswith("| `")]
    assert any(f"`{name}`" in row for row in rows)


def test_a_layer_used_twice_and_a_gradient_asked_for_leave_no_wrong_gradient() -> None:
    """Gradients of a stack add up like any others."""
    stack = Stack([VAE(2, seed=0), VAE(3, seed=1)])
    optimizer = stack.configure_optimizers()
    images, noise = torch.rand(2, 1, 8, 1, 28, 28), torch.zeros(2, 2, 8, 3)
    stack.elbo(images[0], noise[0]).loss.sum().backward()
    once = [weight.grad.clone() for weight in stack.model.parameters() if weight.grad is not None]
    torch.autograd.grad(stack.elbo(images[1], noise[1]).loss.sum(), [*stack.model.parameters()])
    kept = [weight.grad for weight in stack.model.parameters()]
    assert all(torch.equal(left, right) for left, right in zip(kept, once, strict=True) if left is not None)
    optimizer.zero_grad()
    (stack.elbo(images[0], noise[0]).loss.sum() + stack.elbo(images[0], noise[0]).loss.sum()).backward()
    for weight, single in zip(stack.model.parameters(), once, strict=True):
        torch.testing.assert_close(weight.grad, 2 * single)


def test_what_looks_between_steps_refuses_blocks() -> None:
    data = MNIST5kDataModule(block_size=16)
    trainer = Trainer(accelerator="cpu", accumulate_grad_batches=2, logger=False, enable_checkpointing=False)
    with pytest.raises(
        InputError, match=r"^data\.block_size=16: must be auto or 1, because trainer\.accumulate_grad_b"
    ):
        trainer.fit(VAE(), datamodule=data)


def test_the_bar_shows_the_mean_loss_of_a_stacks_models(tmp_path: Path) -> None:
    stack = Stack([VAE(2, seed=seed) for seed in (0, 1)])
    data = StackData(MNIST5kDataModule(batch_size=64, val_size=2400), [0, 0])
    trainer = fit(stack, tmp_path, [], data=data)
    losses = [float(trainer.callback_metrics[f"{k}/train/loss"]) for k in (0, 1)]
    assert min(losses) * 0.8 < trainer.progress_bar_metrics["loss"] < max(losses)
