"""Searches whose jobs write at once what a function of their values gives, instead of training."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from omegaconf import DictConfig, OmegaConf
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from vae_lightning.commands.command import CONF
from vae_lightning.config.resolving import resolved
from vae_lightning.sweeps import pruning, search
from vae_lightning.sweeps.job_by_job import run_job_by_job
from vae_lightning.sweeps.jobs import _report
from vae_lightning.sweeps.search import Search
from vae_lightning.sweeps.search_space import SearchSpace
from vae_lightning.sweeps.study import NOT_COUNTED

EPOCHS = 4
SPACE = ["model.latent_dim=range(2,32)", "optimizer.lr=tag(log,interval(1e-4,1e-2))"]

Values = Mapping[str, str]


class KilledError(BaseException):
    """The death of a command; no Exception, which could be caught."""


class Storage(InMemoryStorage):
    """A study in memory, the writes to which are counted; the command dies instead of one of them."""

    def __init__(self, dies_at: int | None = None) -> None:
        super().__init__()
        self.writes, self.dies_at = 0, dies_at

    def write(self) -> None:
        if self.writes == self.dies_at:
            raise KilledError
        self.writes += 1

    def revive(self, dies_at: int | None = None) -> None:
        """Let a new command begin, a day after the last one."""
        self.writes, self.dies_at = 0, dies_at
        for trial in self.get_all_trials(0, deepcopy=False) if self.get_all_studies() else ():
            if trial.datetime_start is not None:
                trial.datetime_start -= timedelta(days=1)


def _counted(method: str) -> Callable[..., Any]:
    def write(self: Storage, *arguments: Any, **options: Any) -> Any:
        self.write()
        return getattr(InMemoryStorage, method)(self, *arguments, **options)

    return write


for _method in (
    *("create_new_trial", "set_trial_param", "set_trial_state_values", "set_trial_intermediate_value"),
    *("set_trial_user_attr", "set_trial_system_attr", "set_study_user_attr", "set_study_system_attr"),
):
    setattr(Storage, _method, _counted(_method))


def settings(sampler: str = "random", pruner: str = "none", **given: Any) -> dict[str, Any]:
    """Return the arguments of the sweeper as its presets have them, but for those that are given.

    Arguments:
        sampler: the name of its preset; ``sampler_`` holds arguments that replace the preset's.
        pruner: likewise.
        given: arguments of the sweeper.
    """
    node = _preset("search")
    del node["defaults"], node["_target_"], node["_recursive_"]
    for group, name in (("sampler", sampler), ("pruner", pruner)):
        node[group] = _preset(f"{group}/{name}") | given.pop(f"{group}_", {})
    root = {"seed": 7, "trainer": {"max_epochs": EPOCHS}, "sweep": {"name": "s"}, "node": node | given}
    return resolved(OmegaConf.create(root)["node"])


def _preset(name: str) -> dict[str, Any]:
    preset: dict[str, Any] = yaml.safe_load((CONF / f"hydra/sweeper/{name}.yaml").read_text())
    return preset


def values_of(overrides: Sequence[str]) -> dict[str, str]:
    """Return what a job's overrides say, by key."""
    return {key: text for key, _, text in (override.partition("=") for override in overrides)}


@dataclass
class Untrained:
    """A search in a folder, and its jobs.

    Arguments:
        sweep: the folder.
        outcome: the metrics of a job, by its values; a text is the reason of a failure.
        curve: the intermediate value of a job by its values and epoch.

    Attributes:
        launched: the overrides of each job that has been run.
    """

    sweep: Path
    outcome: Callable[[Values], Mapping[str, float] | str] = field(
        default_factory=lambda: lambda values: {"val/loss": distance(values)}
    )
    curve: Callable[[Values, int], float] = field(
        default_factory=lambda: lambda values, epoch: distance(values) / epoch
    )
    launched: list[list[str]] = field(default_factory=list)

    def search(self, space: Sequence[str] | SearchSpace = SPACE, fixed: Sequence[str] = (), **given: Any) -> Search:
        """Return the search, with presets but for what is given."""
        self.sweep.mkdir(parents=True, exist_ok=True)
        given = settings(**given)
        source = SearchSpace(None, space, given["conditions"] or {}) if isinstance(space, Sequence) else space
        return Search(given, None, self._config, fixed, source)  # type: ignore[arg-type]

    def grid(self, jobs: Sequence[Sequence[str]], **given: Any) -> Search:
        """Return the search of a grid with a pruner."""
        self.sweep.mkdir(parents=True, exist_ok=True)
        return Search({"pruner": settings(**given)["pruner"]}, None, self._config, [], jobs)  # type: ignore[arg-type]

    @property
    def _config(self) -> DictConfig:
        return OmegaConf.create({"hydra": {"sweep": {"dir": str(self.sweep)}}, "sweep": {"objective": "val/loss"}})

    def run(self, *arguments: Any, **given: Any) -> list[list[str]]:
        """Run the search as a command does; return the overrides of the jobs that it has launched."""
        before = len(self.launched)
        run(self.search(*arguments, **given), self)
        return self.launched[before:]

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[Any]:
        """Run jobs, as Hydra's launcher."""
        for overrides in job_overrides:
            self.launched.append([override for override in overrides if not override.startswith("sweep.")])
            self.end(self.sweep / folder_of(overrides), values_of(overrides))
        return []

    def end(self, folder: Path, values: Values) -> None:
        """Write what a job leaves."""
        folder.mkdir(parents=True, exist_ok=True)
        outcome, report = self.outcome(values), _report(folder)
        if isinstance(outcome, str):
            (folder / "failure.json").write_text(json.dumps({"error": outcome}))
            return
        (folder / "failure.json").unlink(missing_ok=True)
        for epoch in range(1, EPOCHS + 1) if report is not None else ():
            assert report is not None
            if report(epoch, self.curve(values, epoch)) and epoch < EPOCHS:
                (folder / "pruned.json").write_text(json.dumps({"epoch": epoch, "epochs": EPOCHS}))
                return
        (folder / "metrics.json").write_text(json.dumps({"total_seconds": 10.0, "epochs": EPOCHS, **outcome}))


def stored_in_memory(monkeypatch: pytest.MonkeyPatch) -> Storage:
    """Let all searches have their studies in one storage, and return it."""
    storage = Storage()

    def opened(_: Path, name: str, __: str | None, **options: Any) -> optuna.Study:
        return optuna.create_study(storage=storage, study_name=name, load_if_exists=True, **options)

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    for module in (search, pruning):
        monkeypatch.setattr(module, "open_study", opened)
    return storage


def run(search: Search, launcher: Any, at_a_time: int = 1) -> None:
    """Run a search's jobs."""
    with search.running():
        run_job_by_job(search, launcher, at_a_time)


def distance(values: Values) -> float:
    """Return a loss that falls towards five latent dimensions and a learning rate of 1e-3."""
    lr = float(values.get("optimizer.lr", "1e-3"))
    return abs(int(values.get("model.latent_dim", "5")) - 5) + abs(lr - 1e-3) * 1e3 + 0.1 * int(values.get("seed", 0))


class ByNumber(optuna.pruners.BasePruner):
    """Prunes trials after given epochs.

    Arguments:
        epochs: the epoch of each trial that is pruned, by its number as text.
    """

    def __init__(self, epochs: Mapping[str, int]) -> None:
        self.epochs = epochs

    def prune(self, study: optuna.Study, trial: FrozenTrial) -> bool:
        return trial.last_step == self.epochs.get(str(trial.number))


def by_number(**epochs: int) -> dict[str, Any]:
    """Return the node of a pruner for ``settings``: ``by_number(t3=1)`` prunes trial 3 after epoch 1."""
    own = {number.removeprefix("t"): epoch for number, epoch in epochs.items()}
    return {"pruner": "none", "pruner_": {"_target_": "untrained.ByNumber", "epochs": own}}


def folder_of(overrides: Sequence[str]) -> str:
    return ",".join(override for override in overrides if not override.startswith("sweep."))


def checked_job(_: Any, sweep: Any, overrides: Sequence[str], number: int) -> tuple[DictConfig, dict[str, Any]]:
    """Compose a job in no time: its folder and its number of epochs."""
    folder = Path(sweep.hydra.sweep.dir) / folder_of(overrides)
    config = {"run_dir": str(folder), "trainer": {"max_epochs": EPOCHS}, "optimizer": {}, **values_of(overrides)}
    return OmegaConf.create(config), config


def counted(study: optuna.Study) -> list[FrozenTrial]:
    """Return the trials of a study that count."""
    return [trial for trial in study.get_trials() if NOT_COUNTED not in trial.user_attrs]


def states(study: optuna.Study) -> list[str]:
    return [trial.state.name for trial in counted(study)]


def chosen(study: optuna.Study) -> list[list[str]]:
    """Return the values of each trial that counts, in the order of the trials."""
    return [trial.user_attrs["overrides"] for trial in counted(study)]


def until_complete(command: Callable[[], Any], storage: Storage, dies_at: Sequence[int | None]) -> int:
    """Repeat a command that is killed at some writes, the last time at none; return how often it died."""
    died = 0
    for number in (*dies_at, None):
        storage.revive(number)
        with suppress(KilledError):
            command()
            break
        died += 1
    return died


COMPLETE, FAILED, PRUNED = TrialState.COMPLETE.name, TrialState.FAIL.name, TrialState.PRUNED.name
