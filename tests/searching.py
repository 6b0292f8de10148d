"""Searches by the public command: begun, killed and waited for; and the studies that they leave."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import optuna
import pandas as pd
from optuna.trial import FrozenTrial
from warm_process import begin_command

from vae_lightning.sweeps.study import open_storage

# Jobs that take a second.
JOB = [
    *("data=mnist_5k", "trainer=cpu", "sweep.name=s", "data.val_size=3500", "trainer.max_epochs=2", "logger=none"),
    *("callbacks.figures=null", "callbacks.probe=null", "model.widths=[16]"),
]

TRAIN = "vae_lightning.commands.train"
ELSEWHERE = """import platform, runpy
platform.node = lambda: "{machine}"
runpy.run_module("{module}", run_name="__main__", alter_sys=True)
"""

SWEEP = Path("outputs/sweeps/s")


class Search:
    """A search that runs in a folder.

    Arguments:
        folder: the folder.
        options: overrides, in addition to those of small jobs.
        experiment: the experiment; None for a grid.
        machine: what the search takes for the name of its machine, so that others do not know its processes.
    """

    def __init__(
        self, folder: Path, *options: str, experiment: str | None = "search", machine: str | None = None
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self._log = folder, folder / "log"
        self._begins = self._log.stat().st_size if self._log.exists() else 0
        chosen = [f"experiment={experiment}"] if experiment else []
        arguments, module = ["-m", *chosen, *JOB, *options], TRAIN
        if machine is not None:
            module = "elsewhere"
            (folder / f"{module}.py").write_text(ELSEWHERE.format(machine=machine, module=TRAIN))
        self.process = begin_command(module, *arguments, cwd=folder, out=self._log, err=self._log)

    @property
    def output(self) -> str:
        """What it has written."""
        return self._log.read_bytes()[self._begins :].decode() if self._log.exists() else ""

    def wait_until(self, happened: Callable[[], object]) -> None:
        """Wait until something has happened."""
        while not happened():
            assert self.process.is_alive(), self.output
            time.sleep(0.02)

    def send(self, number: signal.Signals) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, number)

    def kill(self) -> None:
        """Kill it without warning."""
        self.process.kill()
        self.process.join()

    def end(self, status: int = 0) -> str:
        """Wait for its end; return what it has written."""
        self.process.join(300)
        if self.process.exitcode is None:
            self.kill()
            raise AssertionError(self.output)
        assert self.process.exitcode == status, self.output
        return self.output


def counted(storage: str, name: str = "s") -> list[FrozenTrial]:
    """The trials of a study, without those that do not count."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.load_study(study_name=name, storage=open_storage(storage))
    return [trial for trial in study.trials if "not_counted" not in trial.user_attrs]


def states(trials: list[FrozenTrial]) -> list[str]:
    return [trial.state.name for trial in trials]


def own_study(folder: Path) -> str:
    """The storage of a search that names none."""
    return f"sqlite:///{folder / SWEEP / 'study.db'}"


def jobs_here(folder: Path) -> set[str]:
    """The jobs that have begun."""
    return {file.parent.name for file in (folder / SWEEP).glob("*/job.json")}


def results(folder: Path) -> pd.DataFrame:
    """The jobs in a search's report."""
    return pd.read_csv(folder / SWEEP / "results.csv").set_index("job")


Begin = Callable[..., Search]  # as the fixture search, which kills what a test leaves behind
