"""What costs time at every step is not done."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from conftest import FewDigits
from lightning.pytorch import LightningDataModule, LightningModule, Trainer

from vae_lightning import VAE, Stack, StackData


@pytest.mark.skipif(torch.cuda.is_available(), reason="where there is a GPU, their number is remembered")
@pytest.mark.parametrize("stacked", [False, True])
def test_no_step_looks_for_gpus(
    stacked: bool, few_digits: Callable[..., FewDigits], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTORCH_NVML_BASED_CUDA_CHECK", "1")  # as Lightning leaves it
    looked, steps = [], []

    def look() -> int:
        looked.append(True)
        return -1

    monkeypatch.setattr(torch.cuda, "_raw_device_count_nvml", look)
    options: dict[str, Any] = {"val_size": 0, "block_size": 1}
    data: LightningDataModule = few_digits(200, **options)
    module: LightningModule = VAE(latent_dim=2, widths=(8,))
    if stacked:
        module, data = (
            Stack([VAE(latent_dim=2, widths=(8,))]),
            StackData(few_digits(200, **options), [0]),
        )
    monkeypatch.setattr(module, "on_train_batch_end", lambda *_: steps.append(len(looked)))
    trainer = Trainer(accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False)
    trainer.fit(module, datamodule=data)
    assert len(steps) == 4
    assert steps[0] == steps[-1]
