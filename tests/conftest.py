"""Real digits, small; configurations composed as the commands compose them; the commands themselves."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import DictConfig
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor
from warm_process import run_command

from vae_lightning import MNIST5kDataModule
from vae_lightning.commands.command import CONF
from vae_lightning.commands.evaluate import evaluate
from vae_lightning.config.hydra_versions import VERSION_BASE
from vae_lightning.data.image_data_module import ImageDataModule
from vae_lightning.data.images import LabelledImages
from vae_lightning.data.published import FILES
from vae_lightning.streams import generator
from vae_lightning.sweeps.job_name import job_name

if TYPE_CHECKING:
    from searching import Search

Command = Callable[..., subprocess.CompletedProcess[str]]
Compose = Callable[..., DictConfig]

TRAIN = [sys.executable, "-m", "vae_lightning.commands.train"]

# What shrinks a run on the packaged digits to a second.
SMALL = ["data=mnist_5k", "trainer=cpu", "trainer.max_epochs=2", "data.val_size=3000", "callbacks.probe.max_iter=50"]

# A run on noise that takes half a second. Only the test's own process can import TinyImages, so no command can run it.
TINY = [
    *("data=mnist_5k", "data._target_=conftest.TinyImages", "data.val_size=20", "data.batch_size=20", "trainer=cpu"),
    *("trainer.max_epochs=2", "callbacks.probe=null", "callbacks.figures=null", "model.widths=[8]"),
]


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


class TinyImages(ImageDataModule):
    """60 images of noise to train and validate on, and 20 to test on."""

    def read(self) -> tuple[LabelledImages, LabelledImages]:
        source = generator(0, "test")
        train, test = (
            LabelledImages(torch.randint(256, (count, 1, 28, 28), generator=source).byte(), torch.arange(count) % 10)
            for count in (60, 20)
        )
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


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of Chromium."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    return found


@pytest.fixture(scope="module")  # Playwright's event loop would disturb other modules
def browser(chromium: str) -> Iterator[Any]:
    """Headless Chromium, driven by Playwright."""
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        launched = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield launched
        launched.close()


def composing() -> AbstractContextManager[None]:
    """Let ``compose`` read conf within the block."""
    return initialize_config_dir(str(CONF), **VERSION_BASE)


@pytest.fixture
def composed(tmp_path: Path) -> Compose:
    """``composed(*overrides)``, the configuration of vae-train with a run directory of the test's own."""

    def compose_train(*overrides: str, run: str = "run") -> DictConfig:
        with composing():
            return compose("train", [f"run_dir='{tmp_path / run}'", "sweep.name=test", *overrides])

    return compose_train


@pytest.fixture
def command(tmp_path: Path) -> Command:
    """``command("train", *arguments)``, run in an empty folder as the console script runs it."""

    def run(name: str, *arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        own = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
        stand_ins = [(Path(folder) / package).exists() for folder in own for package in ("torch", "lightning")]
        if not any(stand_ins):
            return run_command(name, *arguments, cwd=tmp_path, timeout=timeout)
        return subprocess.run(
            [sys.executable, "-m", f"vae_lightning.commands.{name}", *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return run


@pytest.fixture
def search() -> "Iterator[Callable[..., Search]]":
    """``search(folder, *options)``, a search that begins there; it is killed if the test leaves it behind."""
    from searching import Search

    begun: list[Search] = []

    def begin(*arguments: Any, **options: Any) -> Search:
        begun.append(Search(*arguments, **options))
        return begun[-1]

    yield begin
    for each in begun:
        each.kill()


@pytest.fixture
def no_torch(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every command that imports torch or Lightning fail, so that it must refuse bad input before it does."""
    folder = tmp_path_factory.getbasetemp() / "no_torch"
    for package in ("torch", "lightning"):
        (folder / package).mkdir(parents=True, exist_ok=True)
        # No ImportError, which could be caught.
        (folder / package / "__init__.py").write_text(f'raise SystemExit("{package} is imported too early")\n')
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])]))


@pytest.fixture
def multirun(tmp_path: Path) -> Iterator[Compose]:
    """``multirun(*overrides)``, the configuration of a sweep in ``tmp_path / "s"`` with Hydra's part."""
    with composing():
        loader = GlobalHydra.instance().config_loader()
        yield lambda *overrides: loader.load_configuration(
            "train", [f"hydra.sweep.dir='{tmp_path / 's'}'", "sweep.name=s", *overrides], RunMode.MULTIRUN
        )


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


def fake_job(sweep: Path, axes: dict[str, Any], **metrics: float) -> Path:
    """Write the files of a sweep's job, complete if it has metrics, and return its folder."""
    job = sweep / job_name(axes)
    job.mkdir(parents=True)
    (job / "job.json").write_text(json.dumps({"axes": axes, "objective": "val/loss", "fingerprint": "one"}))
    if metrics:
        (job / "metrics.json").write_text(json.dumps({"total_seconds": 1.0, **metrics}))
    return job


def metrics_of(run: Path) -> dict[str, float]:
    """Read a complete run's metrics.json."""
    numbers: dict[str, float] = json.loads((run / "metrics.json").read_text())
    return numbers


def losses(metrics: dict[str, float]) -> dict[str, float]:
    """Leave out the seconds, which differ between runs."""
    return {name: value for name, value in metrics.items() if not name.endswith("seconds")}


def check_same_bits(run: Path, whole: Path) -> None:
    """Compare a run with one that was never cut off: metrics, curves, weights, moments and TensorBoard's points."""
    assert losses(metrics_of(run)) == losses(metrics_of(whole))
    assert (run / "metrics.csv").read_text() == (whole / "metrics.csv").read_text()
    for name in ("last", "best"):
        found, expected = (
            torch.load(folder / f"checkpoints/{name}.ckpt", weights_only=True) for folder in (run, whole)
        )
        for key, weight in expected["state_dict"].items():
            assert torch.equal(found["state_dict"][key], weight), (name, key)
        moments = [content["optimizer_states"][0]["state"] for content in (found, expected)]
        assert all(torch.equal(moments[0][i]["exp_avg"], moments[1][i]["exp_avg"]) for i in moments[1])
    curves = [EventAccumulator(str(folder)).Reload() for folder in (run, whole)]
    for tag in ("train/loss", "val/loss", "probe/val_acc", "test/loss"):
        points = [[(event.step, event.value) for event in curve.Scalars(tag)] for curve in curves]
        assert points[0] == points[1], tag


def evaluated(run: Path, *overrides: str) -> dict[str, Any]:
    """What vae-eval finds, by ten samples and one probe if nothing else is said."""
    with composing():
        given = [f"run='{run}'", "trainer=cpu", "samples=10", "probe_C=null", *overrides]
        return evaluate(compose("evaluate", given))
