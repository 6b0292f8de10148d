"""Real digits, small; configurations composed as the commands compose them; the commands themselves."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig
from torch import Tensor

from vae_lightning import MNIST5kDataModule
from vae_lightning.command import CONF
from vae_lightning.data import ImageDataModule, LabelledImages
from vae_lightning.mnist import FILES

Command = Callable[..., subprocess.CompletedProcess[str]]
Compose = Callable[..., DictConfig]

TRAIN = [sys.executable, "-m", "vae_lightning.train"]

# What shrinks a run on the packaged digits to a second.
SMALL = ["data=mnist_5k", "trainer=cpu", "trainer.max_epochs=2", "data.val_size=3000", "callbacks.probe.max_iter=50"]


def pytest_make_parametrize_id(val: object) -> str | None:
    """Bytes named by their number: gzip's hold the time, and every worker must give a test the same name."""
    return f"{len(val)} bytes" if isinstance(val, bytes) else None


@pytest.fixture(scope="session")
def digits() -> tuple[LabelledImages, LabelledImages]:
    """The packaged digits: 4,000 for training and 1,000 for test."""
    return MNIST5kDataModule().read()


@pytest.fixture
def images(digits: tuple[LabelledImages, LabelledImages]) -> Tensor:
    """100 real digits, ``(100, 1, 28, 28)``, in [0, 1]."""
    return digits[0].images[::40] / 255


class FewDigits(ImageDataModule):
    """As many real digits as asked for, the first ones."""

    def __init__(self, digits: tuple[LabelledImages, LabelledImages], count: int, **options: Any) -> None:
        super().__init__(**options)
        self.digits, self.count = digits, count

    def read(self) -> tuple[LabelledImages, LabelledImages]:
        # Every n-th, since the digits are sorted by label.
        train, test = (part.subset(torch.arange(0, len(part.labels), 4000 // self.count)) for part in self.digits)
        return train, test


@pytest.fixture
def few_digits(digits: tuple[LabelledImages, LabelledImages]) -> Callable[..., FewDigits]:
    """``few_digits(count, **options)``, a data module over so many training images."""
    return lambda count, **options: FewDigits(digits, count, **options)


@pytest.fixture(scope="session")
def mnist_root() -> Path:
    """The folder with the full MNIST files."""
    root = Path(os.environ.get("VAE_DATA_ROOT", "data"))
    for folder in (root, root / "MNIST/raw"):
        if all((folder / name).is_file() or (folder / f"{name}.gz").is_file() for name in FILES):
            return root.resolve()
    pytest.skip(f"needs the full MNIST files, and {root} (VAE_DATA_ROOT) has none")


@pytest.fixture
def composed(tmp_path: Path) -> Compose:
    """``composed(*overrides)``, the configuration of vae-train with a run directory of the test's own."""

    def compose_train(*overrides: str, run: str = "run") -> DictConfig:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return compose("train", [f"run_dir='{tmp_path / run}'", "sweep.name=test", *overrides])

    return compose_train


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """``command("train", *arguments)``, run in an empty folder as the console script runs it."""

    def run(name: str, *arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", f"vae_lightning.{name}", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return run


def kill_after(epochs: int, tmp_path: Path, *arguments: str, env: dict[str, str] | None = None) -> None:
    """Start vae-train and kill it without warning as soon as it has told of so many epochs."""
    with subprocess.Popen([*TRAIN, *arguments], cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            epochs -= line.startswith("epoch")
            if epochs == 0:
                process.kill()
                break
    assert process.returncode == -signal.SIGKILL
