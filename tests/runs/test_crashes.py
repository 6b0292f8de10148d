"""Runs that are killed, interrupted, or find their disk full: what was there stays, and the same command goes on."""

import os
import random
import resource
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from conftest import SMALL, TRAIN, Command, check_same_bits, metrics_of
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from warm_process import run_command

from vae_lightning import VAE
from vae_lightning.callbacks.interruption import Interruption
from vae_lightning.data.image_data_module import ImageDataModule
from vae_lightning.signals import Interrupted

EPOCHS = 12
SHORT = [*SMALL, f"trainer.max_epochs={EPOCHS}", "callbacks.probe.every_n_epochs=3", "callbacks.figures=null"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing happened to."""
    folder = tmp_path_factory.mktemp("whole")
    run_command("train", *SHORT, "hydra.run.dir=run", cwd=folder).check_returncode()
    return folder / "run"


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*TRAIN, *arguments], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    while not path.exists() and process.poll() is None:
        time.sleep(0.0005)


@pytest.mark.slow
def test_a_run_killed_twenty_times_ends_with_the_same_bits(whole: Path, tmp_path: Path) -> None:
    """Some kills come at random, others as soon as a checkpoint is being written; then resume=DIR alone."""
    rng = random.Random(0)
    run, in_checkpoints, kills = tmp_path / "run", 0, 0
    while kills < 20:
        with start(tmp_path, *SHORT, "hydra.run.dir=run") as process:
            if kills % 2:  # in the middle of writing a checkpoint
                wait_for(run / "checkpoints/last.ckpt.part", process)
                in_checkpoints += (run / "checkpoints/last.ckpt.part").exists()
            else:  # anywhere: from imports on
                time.sleep(rng.uniform(1, 5))
            process.kill()
        if (run / "metrics.json").exists():  # it was too quick: once more, from the beginning
            shutil.rmtree(run)
        else:
            kills += 1
    assert in_checkpoints >= 5
    done = run_command("train", "resume=run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    check_same_bits(run, whole)


def test_a_damaged_checkpoint_is_told_of_and_the_one_before_it_used(whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with start(tmp_path, *SHORT, "hydra.run.dir=run") as process:
        wait_for(run / "checkpoints/previous.ckpt", process)
        process.kill()
    last = run / "checkpoints/last.ckpt"
    shutil.copy(run / "checkpoints/previous.ckpt", last)  # where the kill came between the two
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 1
    last.write_bytes(content)
    done = run_command("train", "resume=run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "last.ckpt: cannot be loaded: the checksum of" in done.stdout
    assert "run resumes after epoch" in done.stdout
    check_same_bits(run, whole)


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow)]
)
def test_a_signal_ends_the_run_after_its_step(number: int, status: int, whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with start(tmp_path, *SHORT, "hydra.run.dir=run") as process:
        wait_for(run / "checkpoints/previous.ckpt", process)
        process.send_signal(number)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == status, output
    assert "Traceback" not in output
    said = "vae-train resume=run resumes after the last complete epoch"
    assert output.splitlines()[-1] == f"{signal.strsignal(number)}: {said}"
    assert not (run / "metrics.json").exists()
    assert not list(run.rglob("*.part"))
    done = run_command("train", *SHORT, "hydra.run.dir=run", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    check_same_bits(run, whole)


@pytest.mark.slow
def test_a_signal_to_a_run_on_two_processes(whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    options = [*SHORT, "trainer=ddp_cpu", "hydra.run.dir=run"]
    with start(tmp_path, *options) as process:
        wait_for(run / "checkpoints/previous.ckpt", process)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 143, output
    done = run_command("train", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "run resumes after epoch" in done.stdout
    assert pd.read_csv(run / "metrics.csv")["epoch"].tolist() == list(range(EPOCHS + 1))
    assert metrics_of(run)["test/loss"] == pytest.approx(metrics_of(whole)["test/loss"], rel=1e-5)


def test_a_run_directory_in_use_is_refused(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with start(tmp_path, *SHORT, "trainer.max_epochs=1000", "hydra.run.dir=run") as process:
        wait_for(run / "checkpoints/last.ckpt", process)
        second = run_command("train", *SHORT, "trainer.max_epochs=1000", "hydra.run.dir=run", cwd=tmp_path)
        assert process.poll() is None
        process.kill()
    assert second.returncode == 2
    assert second.stderr.startswith(f"error: {run}: another process is using it")
    assert second.stderr.count("\n") == 1


def test_a_full_disk_is_told_in_one_line_and_leaves_the_checkpoints_as_they_were(whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    (run / "metrics.json").unlink()
    (run / "checkpoints/previous.ckpt").replace(run / "checkpoints/last.ckpt")  # before its last epoch
    before = {path: path.read_bytes() for path in (run / "checkpoints").iterdir()}

    def limit() -> None:  # no file can grow beyond 500 kB, a checkpoint has 2.5 MB
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))

    command = [*TRAIN, *SHORT, "hydra.run.dir=run"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, preexec_fn=limit)
    assert done.returncode == 1
    assert f"error: {run / 'checkpoints'}" in done.stderr
    assert "cannot be written" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not list(run.rglob("*.part"))
    assert {path: path.read_bytes() for path in (run / "checkpoints").iterdir()} == before
    again = run_command("train", *SHORT, "hydra.run.dir=run", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    check_same_bits(run, whole)


@pytest.mark.usefixtures("no_torch")
@pytest.mark.skipif(os.name != "posix", reason="/proc is Linux's")
def test_a_folder_that_cannot_be_written_to_is_refused(command: Command) -> None:
    done = command("train", *SMALL, "hydra.run.dir=/proc/run")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "/proc/run" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.usefixtures("no_torch")
def test_resume_stands_alone_and_needs_a_run(command: Command, tmp_path: Path) -> None:
    for arguments, line in (
        (["resume=nothing"], "error: resume=nothing: must be a run directory"),
        (["resume=nothing", "seed=3"], "error: resume=nothing: must be given without seed=3"),
    ):
        done = command("train", *arguments)
        assert done.returncode == 2
        assert done.stderr.startswith(line)
        assert list(tmp_path.iterdir()) == []


def test_weights_that_are_not_finite_stop_the_run_before_they_are_saved(command: Command, tmp_path: Path) -> None:
    # Adam's first step is as large as the learning rate: one batch an epoch makes the loss finite, its step infinite.
    options = [*SMALL, "data.batch_size=1000", "optimizer.lr=1e39", "hydra.run.dir=run"]
    done = command("train", *options)
    assert done.returncode == 2
    assert "weights' norm" in done.stderr
    assert "in epoch 1" in done.stderr
    assert "optimizer.lr=1e+39" in done.stderr
    assert not list((tmp_path / "run").rglob("*.ckpt"))


@pytest.mark.parametrize("then", ["raise", "raise ImportError('half imported')"])
def test_a_signal_during_the_imports_ends_the_command_in_one_line(
    then: str, command: Command, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    package = tmp_path_factory.mktemp("imports") / "lightning"
    package.mkdir()
    interrupted = f"try:\n    os.kill(os.getpid(), signal.SIGINT)\nexcept BaseException:\n    {then}\n"
    (package / "__init__.py").write_text(f"import os, signal\n{interrupted}")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PYTHONPATH", str(package.parent))
        done = command("train", "data=mnist_5k")
    assert done.returncode == 130
    assert done.stderr == "Interrupt: nothing was written\n"
    assert list(tmp_path.iterdir()) == []


class SignalInAStep(Callback):
    """Sends the process a signal in the middle of the third step."""

    def __init__(self, times: int) -> None:
        self.times = times

    def on_train_batch_start(self, trainer: Trainer, *_: object) -> None:
        if trainer.global_step == 2:
            for _time in range(self.times):
                os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize(("times", "steps"), [(1, 3), (2, 2)])
def test_the_step_in_progress_is_finished_unless_the_signal_comes_twice(
    times: int, steps: int, few_digits: Callable[..., ImageDataModule]
) -> None:
    trainer = Trainer(
        max_epochs=1,
        accelerator="cpu",
        callbacks=[Interruption(), SignalInAStep(times)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
    )
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted) as left:
        trainer.fit(VAE(), datamodule=few_digits(400, batch_size=50, val_size=0))
    assert left.value.code == 143
    assert trainer.global_step == steps
    assert signal.getsignal(signal.SIGTERM) == before


class SignalBetweenSteps(Callback):
    """Sends SIGTERM when an epoch ends, where a Trainer has much to do that must not be left half done."""

    def __init__(self, epoch: int) -> None:
        self.epoch, self.went_on = epoch, False

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.current_epoch == self.epoch:
            os.kill(os.getpid(), signal.SIGTERM)
            self.went_on = True


@pytest.mark.parametrize(("epoch", "epochs"), [(0, 2), (1, 2)])
def test_what_is_between_steps_is_finished_too(
    epoch: int, epochs: int, few_digits: Callable[..., ImageDataModule], tmp_path: Path
) -> None:
    sender = SignalBetweenSteps(epoch)
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        callbacks=[sender, ModelCheckpoint(tmp_path, filename="{epoch}"), Interruption()],
        logger=False,
        enable_progress_bar=False,
    )
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted) as left:
        trainer.fit(VAE(), datamodule=few_digits(400, batch_size=50, val_size=0))
    assert left.value.code == 143
    assert sender.went_on
    assert trainer.global_step == 8 * (epoch + 1)
    assert (tmp_path / f"epoch={epoch}.ckpt").exists()
    assert signal.getsignal(signal.SIGTERM) == before
