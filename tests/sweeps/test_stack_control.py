"""The bookkeeping of a stack: its jobs, the epoch from which they resume, and each run's view of it."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import Compose
from lightning.pytorch import Callback
from lightning.pytorch.loggers import CSVLogger
from omegaconf import DictConfig, OmegaConf

from vae_lightning.callbacks.fit_record import FitRecord
from vae_lightning.config.resolving import resolved
from vae_lightning.runs.checkpoints import SafeCheckpointIO
from vae_lightning.runs.directory import CONFIG, METRICS, checkpoint_path
from vae_lightning.sweeps import job_name  # noqa: F401  # registers its resolver
from vae_lightning.sweeps.composing import composed_job
from vae_lightning.sweeps.epoch_end import EpochEnd
from vae_lightning.sweeps.jobs import STOPPED
from vae_lightning.sweeps.stack_views import CallbackViews, LoggerView, by_run
from vae_lightning.sweeps.stacking import StackedJob, stacks, train_stack

# The jobs of a stack.


def begin(full: DictConfig, *epochs: int, complete: bool = False) -> None:
    """Write the files of a job that saved its checkpoints after these numbers of epochs."""
    with composed_job(full) as cfg:
        run = Path(cfg.run_dir)
        (run / CONFIG).parent.mkdir(parents=True)
        (run / CONFIG).write_text(OmegaConf.to_yaml(resolved(cfg)))
        for epoch in epochs:
            content = {"epoch": epoch - 1, "global_step": epoch, "pytorch-lightning_version": "2.6"}
            states: dict[str, Any] = {"state_dict": {}, "loops": {}, "callbacks": {}, "optimizer_states": []}
            SafeCheckpointIO().save_checkpoint(content | states, checkpoint_path(run, "last"))
        if complete:
            (run / METRICS).write_text("{}")


@pytest.fixture
def jobs(multirun: Compose) -> Callable[..., list[DictConfig]]:
    """``jobs(count, *overrides)``, jobs of a sweep that differ in their seeds."""
    return lambda count, *overrides: [
        multirun(f"seed={seed}", "sweep.axes=[seed]", "data=mnist_5k", "trainer=cpu", *overrides)
        for seed in range(count)
    ]


def found(composed: list[DictConfig]) -> list[list[tuple[str, str | None]]]:
    """Each stack's jobs, with the checkpoints from which they resume."""
    return [
        [(job.directory.name, None if job.checkpoint is None else job.checkpoint.stem) for job in stack]
        for stack in stacks(composed, None)
    ]


def test_complete_jobs_are_in_no_stack_unless_they_are_to_be_started_over(
    jobs: Callable[..., list[DictConfig]],
) -> None:
    composed = jobs(3)
    begin(composed[0], 1, 2, complete=True)
    assert found(composed) == [[("seed=1", None), ("seed=2", None)]]
    assert found(jobs(2, "restart=true")) == [[("seed=0", None), ("seed=1", None)]]


def test_the_jobs_of_a_stack_resume_at_the_last_epoch_that_all_have_saved(
    jobs: Callable[..., list[DictConfig]],
) -> None:
    composed = jobs(3)
    for full, epochs in zip(composed, [(3, 4), (2, 3), (3, 4)], strict=True):
        begin(full, *epochs)
    assert found(composed) == [[("seed=0", "previous"), ("seed=1", "last"), ("seed=2", "previous")]]


def test_no_stack_is_trained_once_the_sweep_has_stopped(tmp_path: Path) -> None:
    (tmp_path / STOPPED).touch()
    stack = [StackedJob(place, {"run_dir": str(tmp_path / f"seed={place}")}, {"axes": {}}) for place in range(2)]
    assert train_stack(stack, tmp_path) is None
    assert [path.name for path in tmp_path.iterdir()] == [STOPPED]


# Each run's view.


class Seen(Callback):
    """A callback that records its calls, and may fail."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.seen = error, list[Any]()
        self.state: dict[str, Any] = {}

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self.seen.append((pl_module, trainer.callback_metrics, trainer.loggers))
        if self.error is not None:
            raise self.error

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.state = state_dict


class Logged(CSVLogger):
    """A logger that records its metrics."""

    def __init__(self) -> None:
        super().__init__("")
        self.seen: list[Any] = []

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        self.seen.append((metrics, step))


class FakeRun(SimpleNamespace):
    """The attributes of a stacked run."""

    @property
    def active(self) -> bool:
        return self.error is None


def run(callback: Seen, **attributes: Any) -> Any:
    nothing = {
        "config": {"data": {"seed": 0}},
        "state": None,
        "error": None,
        "vae": SimpleNamespace(),
        "fit": None,
        "seconds": {"fit": 0.0, "total": 0.0},
    }
    return FakeRun(**nothing | attributes, own_callbacks=[callback], loggers={"mine": Logged()})


def views_of(runs: list[Any]) -> CallbackViews:
    return CallbackViews(runs, FitRecord(0.0), EpochEnd())


def stack_of(runs: list[Any], failures: dict[int, str] | None = None) -> Any:
    """A stack of models that cannot leave it."""
    return SimpleNamespace(unstack=lambda: None, failures=failures or {}, places=[*range(len(runs))])


def end_epoch(runs: list[Any]) -> None:
    metrics = {f"{place}/train/loss": float(place) for place in range(len(runs))} | {"epoch": 7.0}
    trainer: Any = SimpleNamespace(callback_metrics=metrics, current_epoch=0, max_epochs=1, should_stop=False)
    views_of(runs).on_train_epoch_end(trainer, stack_of(runs))


def test_metrics_are_split_by_the_number_in_front_however_many_digits_it_has() -> None:
    split = by_run({"1/train/loss": 1.0, "11/train/loss": 11.0, "11/a/1/b": 2.0, "epoch": 7.0}, 12)
    assert split[1] == {"train/loss": 1.0, "epoch": 7.0}
    assert split[11] == {"train/loss": 11.0, "a/1/b": 2.0, "epoch": 7.0}
    assert split[0] == split[10] == {"epoch": 7.0}


def test_each_run_sees_its_own_model_metrics_and_loggers() -> None:
    callbacks = [Seen(), Seen()]
    runs = [run(callback, vae=SimpleNamespace(place=place)) for place, callback in enumerate(callbacks)]
    end_epoch(runs)
    for place, callback in enumerate(callbacks):
        metrics = {"train/loss": float(place), "epoch": 7.0}
        assert callback.seen == [(SimpleNamespace(place=place), metrics, [runs[place].loggers["mine"]])]


def test_a_run_whose_callback_fails_is_left_alone_and_the_others_go_on() -> None:
    full = OSError("No space left on device")
    callbacks = [Seen(), Seen(full), Seen()]
    runs = [run(callback) for callback in callbacks]
    end_epoch(runs)
    end_epoch(runs)
    assert [run.error for run in runs] == [None, full, None]
    assert [len(callback.seen) for callback in callbacks] == [2, 1, 2]


def test_a_run_that_has_failed_logs_no_more() -> None:
    runs = [run(Seen()), run(Seen(), error=FloatingPointError("the loss is nan"))]
    LoggerView(runs).log_metrics({"0/val/loss": 1.0, "1/val/loss": 2.0}, 16)
    assert [run.loggers["mine"].seen for run in runs] == [[({"val/loss": 1.0}, 16)], []]


def test_a_model_that_diverges_fails_its_own_run_and_a_stack_without_runs_ends() -> None:
    earlier = OSError("No space left on device")
    runs = [run(Seen()), run(Seen()), run(Seen(), error=earlier)]
    views = views_of(runs)
    trainer: Any = None
    views.on_train_batch_end(trainer, stack_of(runs, {1: "the loss is nan", 2: "the loss is inf"}))
    assert [str(run.error) for run in runs] == ["None", "the loss is nan", "No space left on device"]
    assert isinstance(runs[1].error, FloatingPointError)
    with pytest.raises(FloatingPointError, match="stack"):
        views.on_train_batch_end(trainer, stack_of(runs, {0: "the loss is nan"}))


@pytest.mark.parametrize("paused", [True, False])
def test_a_paused_fit_is_not_at_its_end(paused: bool) -> None:
    """A callback may put earlier weights back there, with which the fit would go on."""
    seen: list[str] = []
    callback = Seen()
    for hook in ("on_train_end", "on_fit_end"):
        setattr(callback, hook, lambda *_, hook=hook: seen.append(hook))
    runs = [run(callback)]
    views = views_of(runs)
    views.paused = paused
    trainer: Any = SimpleNamespace(callback_metrics={})
    views.on_train_end(trainer, stack_of(runs))
    views.on_fit_end(trainer, stack_of(runs))
    assert seen == ([] if paused else ["on_train_end", "on_fit_end"])


def test_each_runs_callbacks_resume_from_its_own_state_and_share_nothing_with_it() -> None:
    callbacks = [Seen(), Seen(), Seen()]
    states: list[Any] = [{"callbacks": {"Seen": {"rows": [place]}}} for place in range(2)] + [{"callbacks": {}}]
    runs = [run(callback, state=state) for callback, state in zip(callbacks, states, strict=True)]
    views_of(runs).on_load_checkpoint()
    assert [callback.state for callback in callbacks] == [{"rows": [0]}, {"rows": [1]}, {}]
    callbacks[0].state["rows"].append(5)
    assert states[0] == {"callbacks": {"Seen": {"rows": [0]}}}
