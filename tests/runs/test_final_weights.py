"""A run's final numbers are of the weights that it stores, however its training ended."""

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import TINY, Compose, TinyImages
from lightning.pytorch import Trainer
from omegaconf import DictConfig
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from vae_lightning import VAE, InputError
from vae_lightning.runs.directory import FIT, METRICS
from vae_lightning.runs.training import train

QUIET = [*TINY, "logger=none", "callbacks.curves=null", "optimizer.lr=0.01"]
EMA = "+callbacks.average={_target_: lightning.pytorch.callbacks.EMAWeightAveraging, decay: 0.5}"
SWA = (
    "+callbacks.average={_target_: lightning.pytorch.callbacks.StochasticWeightAveraging, swa_lrs: 0.02, "
    "swa_epoch_start: 1}"
)
STOP = "+callbacks.stop={_target_: lightning.pytorch.callbacks.EarlyStopping, monitor: val/loss, min_delta: 1e9, "


def validated(checkpoint: Path) -> dict[str, float]:
    """Validate a checkpoint's weights."""
    vae = VAE.load_from_checkpoint(checkpoint)
    trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    (found,) = trainer.validate(vae, datamodule=TinyImages(val_size=20, batch_size=20), verbose=False)
    return {name: float(value) for name, value in found.items() if "/" in name}


@pytest.mark.parametrize(
    ("options", "epochs", "steps"),
    [
        ([], 4, 8),
        (["trainer.check_val_every_n_epoch=3"], 4, 8),
        (["trainer.check_val_every_n_epoch=null", "+trainer.val_check_interval=3"], 4, 8),
        (["+trainer.val_check_interval=0.5"], 4, 8),
        (["+trainer.max_steps=5"], 3, 5),
        (["+trainer.max_steps=5", "trainer.check_val_every_n_epoch=2", "data.block_size=1"], 3, 5),
        (["+trainer.accumulate_grad_batches=2"], 4, 4),
        ([STOP + "patience: 1}"], 2, 4),
        ([EMA], 4, 8),
        ([SWA], 4, 8),
    ],
    ids=str,
)
def test_validation_is_of_the_stored_weights(
    options: list[str], epochs: int, steps: int, composed: Compose, tmp_path: Path
) -> None:
    metrics = train(composed(*QUIET, "trainer.max_epochs=4", *options))
    content = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    assert (metrics["epochs"], content["global_step"]) == (epochs, steps)
    expected = validated(tmp_path / "run/checkpoints/last.ckpt")
    assert {name: metrics[name] for name in expected} == pytest.approx(expected, rel=1e-6)


def test_the_best_epoch_is_the_best_of_all_and_its_weights_are_stored(composed: Compose, tmp_path: Path) -> None:
    metrics = train(composed(*QUIET, "optimizer.lr=0.5", "trainer.max_epochs=6"))
    content = torch.load(tmp_path / "run/checkpoints/best.ckpt", weights_only=True)
    assert metrics["best/epoch"] == content["epoch"] + 1
    assert metrics["best/val/loss"] == pytest.approx(validated(tmp_path / "run/checkpoints/best.ckpt")["val/loss"])


def test_what_was_measured_on_other_weights_is_no_final_number(composed: Compose) -> None:
    small = [f"callbacks.gradients.{name}=2" for name in ("images", "estimates", "references", "every_n_epochs")]
    options = ["callbacks=default_and_gradients", *TINY, "logger=none", *small]
    assert "gradient/bias" in train(composed(*options, run="even"))
    assert "gradient/bias" not in train(composed(*options, "trainer.max_epochs=3", run="odd"))


class CrashError(Exception):
    pass


def end_in_the_test(cfg: DictConfig) -> None:
    """Train a run that dies when its test begins."""

    def crash(*_: Any) -> None:
        raise CrashError

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(VAE, "on_test_epoch_start", crash)
        with pytest.raises(CrashError):
            train(cfg)


@pytest.mark.parametrize("marked", [True, False], ids=["killed in the test", "killed before the fit's end was stored"])
@pytest.mark.parametrize("ending", [STOP + "patience: 1}", "+trainer.max_steps=5", "trainer.max_epochs=4"])
def test_a_run_killed_in_its_test_goes_on_with_the_test(
    ending: str, marked: bool, composed: Compose, tmp_path: Path
) -> None:
    options = [*TINY, "trainer.max_epochs=4", ending, "logger=tensorboard"]
    whole = train(composed(*options, run="whole"))

    end_in_the_test(composed(*options))
    run = tmp_path / "run"
    assert not (run / METRICS).exists()
    if not marked:
        (run / FIT).unlink()
        if "stop" in ending:
            pytest.skip("Lightning's own state does not tell that training had stopped")
    resumed = train(composed(*options))
    timeless = [{name: value for name, value in each.items() if "seconds" not in name} for each in (resumed, whole)]
    assert timeless[0] == timeless[1]
    # Nothing is missing in TensorBoard, and nothing stands twice.
    points = [
        {
            tag: [(event.step, event.value) for event in events.Scalars(tag)]
            for tag in events.Tags()["scalars"]
            if not tag.startswith("speed")
        }
        for events in (EventAccumulator(str(folder)).Reload() for folder in (run, tmp_path / "whole"))
    ]
    assert points[0] == points[1]
    assert (run / "metrics.csv").read_text() == (tmp_path / "whole/metrics.csv").read_text()


def test_times_count_the_whole_run(composed: Compose, tmp_path: Path) -> None:
    end_in_the_test(composed(*QUIET))
    content = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    content["callbacks"]["FitRecord"]["seconds"] = {"fit": 100.0, "total": 200.0}
    torch.save(content, tmp_path / "run/checkpoints/last.ckpt")
    metrics = train(composed(*QUIET))
    assert 100 <= metrics["fit_seconds"] < 190
    assert 200 <= metrics["total_seconds"] < 290


def test_monitors_of_lightning_log_at_optimiser_steps(composed: Compose, tmp_path: Path) -> None:
    """In blocks too, whose number Lightning would count."""
    monitor = "+callbacks.lr={_target_: lightning.pytorch.callbacks.LearningRateMonitor, logging_interval: epoch}"
    train(composed(*TINY, "logger=tensorboard", "trainer.max_epochs=3", "data.batch_size=5", monitor))
    events = EventAccumulator(str(tmp_path / "run")).Reload()
    assert [event.step for event in events.Scalars("lr-Adam")] == [0, 8, 16]
    assert [event.step for event in events.Scalars("train/loss")] == [8, 16, 24]


def test_predictions_are_reconstructions_of_the_test_images() -> None:
    vae, data = VAE(2), TinyImages(val_size=20)
    trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    (predicted,) = trainer.predict(vae, datamodule=data)  # type: ignore[misc]
    ((images, _),) = data.test_dataloader()
    assert torch.equal(predicted, vae.reconstruct(images))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["+callbacks.best_checkpoint.save_top_k=3"], "callbacks.best_checkpoint.save_top_k=3: must be 1, because"),
        (["data.block_size=16", "+trainer.gradient_clip_val=1"], "data.block_size=16: must be auto or 1, because"),
        (["optimizer._target_=torch.optim.LBFGS"], "optimizer._target_=torch.optim.LBFGS: must be an optimiser"),
        (["+trainer.enable_checkpointing=false"], "trainer: Trainer refuses its arguments"),
        (["trainer.accelerator=gpu"], "trainer: Trainer refuses its arguments: No supported gpu backend"),
        (["data.device=cuda"], "data.device=cuda: must be a device of this machine"),
        (["+trainer.profiler={_target_: subprocess.Popen}"], "trainer.profiler._target_=subprocess.Popen: must be"),
        (["+trainer.benchmark={_target_: subprocess.Popen}"], "trainer.benchmark._target_=subprocess.Popen: must be"),
    ],
    ids=str,
)
def test_what_cannot_be_run_is_refused_and_leaves_the_folder_free(
    options: list[str], message: str, composed: Compose, tmp_path: Path
) -> None:
    if torch.cuda.is_available() and ("gpu" in message or "cuda" in message):
        pytest.skip("there is a GPU")
    with pytest.raises(InputError) as caught:
        train(composed(*QUIET, *options))
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    assert [path for path in (tmp_path / "run").rglob("*") if path.is_file()] == []
    train(composed(*QUIET))


def test_a_schedule_that_ends_before_training_does_is_logged(
    composed: Compose, caplog: pytest.LogCaptureFixture
) -> None:
    for steps, logged in ((4, False), (3, True)):  # of two epochs with two batches each, in a block
        caplog.clear()
        with caplog.at_level("INFO"):
            train(composed(*QUIET, "schedule=cosine", f"schedule.steps={steps}", run=str(steps)))
        assert (
            "the schedule ends at step 3 of 4: from then on, the learning rate's factor is 0" in caplog.text
        ) == logged


def test_a_profile_is_in_the_log(composed: Compose, caplog: pytest.LogCaptureFixture) -> None:
    profiler = "+trainer.profiler={_target_: lightning.pytorch.profilers.SimpleProfiler}"
    with caplog.at_level("INFO"):
        train(composed(*QUIET, profiler))
    assert "FIT Profiler Report" in caplog.text
