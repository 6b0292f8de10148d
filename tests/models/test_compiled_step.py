"""A compiled step gives the same numbers, alone, in a stack, and with whatever changes from step to step."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from vae_lightning import VAE, MNIST5kDataModule
from vae_lightning.config.errors import InputError
from vae_lightning.data.stack_data import StackData
from vae_lightning.models.stack import Stack

CONCRETE = {
    "_target_": "vae_lightning.posteriors.ConcreteBernoulli",
    "schedule": {"_target_": "vae_lightning.schedules.WarmUp", "steps": 20, "start": 2.0},
}
WARM_UP = {
    "_target_": "vae_lightning.objectives.BetaELBO",
    "schedule": {"_target_": "vae_lightning.schedules.WarmUp", "steps": 20},
}
COSINE = {"_target_": "vae_lightning.schedules.Cosine", "steps": 30, "warmup_steps": 5}


class Leave(Callback):
    """Lets the last model leave a stack after the first epoch."""

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        assert isinstance(pl_module, Stack)
        if trainer.current_epoch == 0:
            pl_module.keep([0, 1])
            trainer.datamodule.keep([0, 1])  # type: ignore[attr-defined]


def fitted(
    module: LightningModule, seeds: list[int] | None = None, epochs: int = 1, callbacks: Sequence[Callback] = ()
) -> dict[str, float]:
    """Fit epochs of 25 steps, of which the last has a smaller batch, and return the metrics."""
    data: Any = MNIST5kDataModule(batch_size=64, val_size=2440)
    trainer = Trainer(
        max_epochs=epochs,
        callbacks=[*callbacks],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, datamodule=data if seeds is None else StackData(data, seeds))
    assert trainer.global_step == 25 * epochs
    return {name: float(value) for name, value in trainer.callback_metrics.items() if "/" in name}


def alone(**options: Any) -> Callable[[], tuple[Any, None]]:
    return lambda: (VAE(5, widths=[32], **options), None)


def stacked(**options: Any) -> Callable[[], tuple[Any, list[int]]]:
    return lambda: (Stack([VAE(dim, widths=[32], seed=dim, **options) for dim in (2, 5, 5)]), [0, 0, 0])


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(alone(), id="alone"),
        *(
            pytest.param(make, id=name, marks=pytest.mark.slow)
            for name, make in {
                "warm-up": alone(objective=WARM_UP, schedule=COSINE),
                "temperature": alone(posterior=CONCRETE),
                "score function": alone(estimator={"_target_": "vae_lightning.estimators.ScoreFunction"}),
                "stack": stacked(objective=WARM_UP),
                "stack by vmap": stacked(likelihood={"_target_": "vae_lightning.likelihoods.Gaussian"}),
            }.items()
        ),
    ],
)
def test_a_compiled_step_gives_the_same_numbers(make: Callable[[], tuple[Any, list[int] | None]]) -> None:
    (eager, seeds), (compiled, _) = make(), make()
    compiled.compile_step()
    expected = fitted(eager, seeds)
    assert fitted(compiled, seeds) == pytest.approx(expected, rel=1e-5)
    for weight, other in zip(compiled.parameters(), eager.parameters(), strict=True):
        torch.testing.assert_close(weight, other, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_a_stack_that_models_leave_is_compiled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def left(compiled: bool) -> tuple[Stack, list[int]]:
        stack, seeds = stacked()()
        if compiled:
            stack.compile_step()
        fitted(stack, seeds, epochs=2, callbacks=[Leave()])
        return stack, sizes

    sizes: list[int] = []
    own = Stack._terms

    def counted(self: Stack, images: Any, noise: Tensor, step: int) -> Any:
        if not torch.compiler.is_compiling():
            sizes.append(noise.shape[1])
        return own(self, images, noise, step)

    eager, _ = left(compiled=False)
    monkeypatch.setattr(Stack, "_terms", counted)
    compiled, _ = left(compiled=True)
    assert sizes == [3, 2]  # the last, shorter batch of each epoch alone
    for weight, other in zip(compiled.parameters(), eager.parameters(), strict=True):
        assert len(weight) == 2
        torch.testing.assert_close(weight, other, rtol=1e-3, atol=1e-4)


def test_without_a_compiler_the_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", ("no-such-compiler",))
    vae = VAE(2)
    vae.compile_step()
    with pytest.raises(InputError, match=r"^compile: must be false, because there is no C\+\+ compiler"):
        fitted(vae)
