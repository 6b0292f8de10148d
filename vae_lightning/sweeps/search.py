"""A search: its trials, and the jobs of which they consist."""

import logging
import math
import os
import statistics
import time
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from threading import RLock
from typing import Any

import optuna
from filelock import FileLock
from hydra.core.config_loader import ConfigLoader
from omegaconf import DictConfig
from optuna.trial import FrozenTrial, TrialState

from vae_lightning.config.errors import IncompatibleError, InputError, one_line
from vae_lightning.config.targets import build
from vae_lightning.reports.levels import shortened
from vae_lightning.runs.directory import FAILURE, JOB, METRICS, PRUNED, RETRIED, TRIAL, read_json, read_metrics
from vae_lightning.sweeps.composing import checked_job
from vae_lightning.sweeps.jobs import STOPPED
from vae_lightning.sweeps.objectives import Objectives
from vae_lightning.sweeps.pruning import TrialReport, build_pruner, judge, stored_verdict
from vae_lightning.sweeps.sampling import sampled_trial
from vae_lightning.sweeps.search_space import SearchSpace
from vae_lightning.sweeps.study import NOT_COUNTED, open_study, record_study
from vae_lightning.sweeps.workers import Worker
from vae_lightning.whole_files import write_json

__all__ = ["POLL_SECONDS", "Search", "SearchJob", "planned_epochs"]

log = logging.getLogger(__name__)

# Samplers whose trials share one seed; all others get a new one for each trial, so that a resumed search chooses what
# it would have chosen.
OF_ONE_SEED = ("optuna.samplers.QMCSampler",)

# Why a trial has failed whose worker was killed.
DIED = "its worker died"

# Seconds between two looks whether another command in the same folder has ended a trial.
POLL_SECONDS = 1.0


@dataclass(eq=False)
class _Trial:
    """A trial that this command runs: its stored trial, its overrides, its jobs, and the values of those complete."""

    number: int
    stored: optuna.Trial
    overrides: list[str]
    jobs: list["SearchJob"] = field(default_factory=list)
    values: dict[str, list[float]] = field(default_factory=dict)
    seconds: float = 0.0
    epochs: int = 0


@dataclass(eq=False)
class SearchJob:
    """A job of a trial: one seed, or the trial itself if there are no seeds.

    Attributes:
        trial: the trial.
        seed: the seed, as text; empty if there are no seeds.
        overrides: all overrides of the job.
        number: the job's number, which its folder's name may contain.
        cfg: the configuration, including the ``hydra`` node.
        config: the configuration, every value resolved.
    """

    trial: _Trial
    seed: str
    overrides: list[str]
    number: int
    cfg: DictConfig
    config: Mapping[str, Any]

    @property
    def folder(self) -> Path:
        return Path(self.config["run_dir"])

    @property
    def reports(self) -> bool:
        """Whether the job's intermediate values are those of the trial: the first seed's are."""
        return self is self.trial.jobs[0]


def planned_epochs(job: SearchJob) -> int:
    """Return the number of epochs that a job trains unless it is pruned or stopped."""
    epochs: int = job.config["trainer"]["max_epochs"]
    return epochs


class Search:
    """The trials of a sweep, in a study that several commands on several machines may share.

    Arguments:
        settings: the sweeper's arguments, as in ``conf/hydra/sweeper/search.yaml``.
        loader: Hydra's configuration loader.
        config: the multirun's configuration, including the ``hydra`` node.
        fixed: overrides that all trials share.
        source: the space from which the sampler chooses, or the overrides of each trial.

    Raises:
        InputError: if a value is not allowed; nothing has been written then.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        loader: ConfigLoader,
        config: DictConfig,
        fixed: Sequence[str],
        source: SearchSpace | Sequence[Sequence[str]],
    ) -> None:
        self._settings, self._loader, self._config = settings, loader, config
        self._source = source
        # Overrides that the jobs of a grid share, which say nothing about one of them.
        grid = [] if isinstance(source, SearchSpace) else source
        self._shared = set[str]().union(*grid[:1]).intersection(*grid) if len(grid) > 1 else set()
        self.sweep = Path(config.hydra.sweep.dir)
        self.objectives = Objectives.of(settings, config.sweep.objective)
        self._seeds = [str(seed) for seed in settings.get("seeds") or ()]
        axes = [*source.keys] if isinstance(source, SearchSpace) else None
        if axes is not None:
            named = ",".join([*axes, *["seed"] * bool(self._seeds)])
            fixed = [*fixed, f"sweep.axes=[{named}]"]
        first = self.objectives.names[0]  # by which runs report, and the sweep ranks
        self._fixed = [*fixed, *([] if first == config.sweep.objective else [f"sweep.objective={first}"])]
        self._pruner = build_pruner(settings.get("pruner"))
        if self._pruner is not None and len(self.objectives.names) > 1:
            raise InputError(
                f"hydra.sweeper.pruner._target_={settings['pruner']['_target_']}: must be optuna.pruners.NopPruner "
                "(hydra/sweeper/pruner=none) with several objectives"
            )
        self._sampler(0)
        self._worker = Worker(self.sweep, settings.get("heartbeat", 60))
        self._folder = os.path.abspath(self.sweep)
        self._choosing = FileLock(self.sweep / ".workers" / "choosing.lock")  # one command in this folder at a time
        self._adopted: list[FrozenTrial] = []
        self._running: dict[int, _Trial] = {}
        self._announced: set[int] = set()  # trials whose end is in the log already
        self._waiting: dict[int, list[_Trial]] = {}  # trials that wait for the outcome of another one, by its number
        self._lock = RLock()
        self._began = time.monotonic()
        self._ended = 0
        self._check_examples()

    def _check_examples(self) -> None:
        """Refuse a space with a value that no trial can have."""
        examples = self._source.examples() if isinstance(self._source, SearchSpace) else self._source
        possible = not examples
        for number, example in enumerate(examples):
            seed = [f"seed={self._seeds[0]}"] if self._seeds else []
            try:
                checked_job(self._loader, self._config, [*self._fixed, *example, *seed], number)
                possible = True
            except IncompatibleError as error:
                unfit = error
        if not possible:
            raise InputError(f"all trials are left out: {unfit}")

    @cached_property
    def _study(self) -> optuna.Study:
        name, storage = self._settings.get("study_name") or "grid", self._settings.get("storage")
        study = open_study(
            self.sweep,
            name,
            storage,
            directions=self.objectives.directions,
            sampler=optuna.samplers.RandomSampler(),
            pruner=self._pruner or optuna.pruners.NopPruner(),
        )
        if isinstance(self._source, SearchSpace):
            self._source.check_study(study.get_trials(deepcopy=False))
        study.set_user_attr("objectives", self.objectives.names)
        if isinstance(self._source, SearchSpace):
            record_study(self.sweep, name, storage)
        return study

    @contextmanager
    def running(self) -> Iterator[None]:
        """Take part in the study: own trials that were cut off are taken up, and those of dead workers are retried."""
        assert self._study
        with self._worker.alive(self._give_sign):
            yield
            self._explain_lost()

    @property
    def n_trials(self) -> int:
        """The total number of trials."""
        if not isinstance(self._source, SearchSpace):
            return len(self._source)
        wanted: int = self._settings["n_trials"]
        brute = str((self._settings.get("sampler") or {}).get("_target_")).endswith(".BruteForceSampler")
        return min(wanted, self._source.size) if brute and self._source.size is not None else wanted

    @property
    def jobs_at_once(self) -> int:
        """The number of jobs of a trial that begin together: with a pruner, the first seed's alone."""
        return 1 if self._pruner is not None else max(1, len(self._seeds))

    def next(self, batch: tuple[int, int] | None = None) -> list[SearchJob]:
        """Begin the next trial; return the jobs that begin with it, none if there is no trial left.

        Arguments:
            batch: the number of the batch to which the trial belongs, and its number of trials, which the study stores.
        """
        with self._lock:
            while True:
                stored = self._take_up() or self._ask(batch)
                if stored is None:
                    return []
                trial = self._begin(stored)
                # Two trials may have the same values, and thus the same folder: the second waits for the first.
                if trial is not None and not self._waits(trial):
                    self._prepare(trial, stored)
                    return [*trial.jobs]

    def cut_off(self) -> list[FrozenTrial]:
        """Return the trials of this folder that killed commands have left, and which :meth:`next` takes up."""
        with self._choosing:
            for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
                if trial.user_attrs.get("folder") == self._folder and not self._is_alive(trial):
                    self._own(optuna.Trial(self._study, trial._trial_id))
                    self._adopted.append(trial)
        return self._adopted

    def _take_up(self) -> FrozenTrial | None:
        waiting = self.cut_off()
        return waiting.pop(0) if waiting else None

    def _ask(self, batch: tuple[int, int] | None) -> FrozenTrial | None:
        """Begin a new trial, unless there are enough, time is up, or the sweep has stopped."""
        with self._choosing:  # so that no other command in this folder chooses the same job of a grid
            return self._ask_alone(batch)

    def _ask_alone(self, batch: tuple[int, int] | None) -> FrozenTrial | None:
        self._retry_lost()
        trials = self._counted()
        begun = [trial for trial in trials if trial.state != TrialState.WAITING]
        failed = sum(trial.state == TrialState.FAIL for trial in begun)
        ended = sum(trial.state.is_finished() for trial in begun)
        limit, rate = self._settings.get("timeout"), self._settings.get("max_failure_rate", 1.0)
        if len(begun) >= self.n_trials or (self.sweep / STOPPED).exists():
            return None
        if limit is not None and self._seconds() >= limit:
            log.info("no more trials: hydra.sweeper.timeout=%s s have passed", limit)
            return None
        if ended and failed / ended > rate:
            log.error("no more trials: %d of %d have failed (hydra.sweeper.max_failure_rate=%s)", failed, ended, rate)
            return None
        point = None
        if not isinstance(self._source, SearchSpace):
            taken = [trial.user_attrs.get("overrides") for trial in trials]
            point = next((list(given) for given in self._source if list(given) not in taken), None)
        if len(begun) < len(trials):
            return self._frozen(self._queued())
        if point is None and not isinstance(self._source, SearchSpace):
            return None
        trial = self._add(point, self._sampler(len(begun)), batch)
        before = sum(other.number < trial.number for other in self._counted())
        if before >= self.n_trials:  # another command was faster
            self._discard(trial, "another command had begun the last trial")
            return None
        if before != len(begun):  # another command began a trial at the same moment, perhaps with the same values
            self._discard(trial, "another command began a trial at the same moment")
            return self._ask_alone(batch)
        return self._frozen(trial)

    def _queued(self) -> optuna.Trial:
        """Begin the next trial of the queue, in which are those of dead workers."""
        trial = self._study.ask()
        if isinstance(self._source, SearchSpace):
            trial.set_user_attr("overrides", self._source.suggest(trial))
        self._own(trial)
        trial.set_user_attr("folder", self._folder)  # last: from now on, it can be taken up
        return trial

    def _add(
        self, point: list[str] | None, sampler: optuna.samplers.BaseSampler, batch: tuple[int, int] | None
    ) -> optuna.Trial:
        """Begin a trial of a grid's point, or of values that the sampler chooses, by a single write."""
        attributes = {**self._mark, "folder": self._folder}
        if batch is not None:
            attributes["batch"] = [*batch]
        if isinstance(self._source, SearchSpace):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of samplers that choose independently where a condition decides
                template = sampled_trial(self._study, sampler, self._source, attributes)
        else:
            state, overrides = TrialState.RUNNING, {"overrides": point}
            template = optuna.trial.create_trial(state=state, user_attrs=overrides | attributes)
        return optuna.Trial(self._study, self._study._storage.create_new_trial(self._study._study_id, template))

    def _begin(self, stored: FrozenTrial) -> _Trial | None:
        """Compose the jobs of a trial; return None if the trial makes no sense."""
        trial = _Trial(stored.number, optuna.Trial(self._study, stored._trial_id), stored.user_attrs["overrides"])
        try:
            self._add_jobs(trial, self.jobs_at_once)
        except InputError as error:
            log.warning("trial %d is left out: %s", stored.number, one_line(error))
            self._fail(trial, str(error))
            if not isinstance(error, IncompatibleError):
                raise
            return None
        self._running[stored.number] = trial
        begun = self._begun()
        chosen = shortened(" ".join(given for given in trial.overrides if given not in self._shared))
        left = self._time_left()
        log.info("trial %d (%d of %d%s): %s", trial.number, begun, self.n_trials, left, chosen)
        return trial

    def _prepare(self, trial: _Trial, stored: FrozenTrial) -> None:
        """Write to the folder of a trial's first job where it reports, and whether it was pruned before a kill."""
        verdict, first = stored_verdict(stored), trial.jobs[0]
        pruned = verdict["pruned"] and verdict["step"] < planned_epochs(first)
        if pruned and not (first.folder / METRICS).exists():  # killed before it could say so itself
            write_json(first.folder / PRUNED, {"epoch": verdict["step"], "epochs": planned_epochs(first)})
        if len(self.objectives.names) == 1:
            report = TrialReport(
                self._folder,
                self._study.study_name,
                self._settings.get("storage"),
                self._settings.get("pruner"),
                stored.number,
            )
            write_json(first.folder / TRIAL, vars(report))

    def _waits(self, trial: _Trial) -> bool:
        """Return whether the jobs of a trial are also those of another one that runs."""
        folders = [job.folder for job in trial.jobs]
        twins = [
            other
            for other in self._running.values()
            if other is not trial and folders == [job.folder for job in other.jobs[: len(folders)]]
        ]
        for twin in twins[:1]:
            self._waiting.setdefault(twin.number, []).append(trial)
        return bool(twins)

    def _add_jobs(self, trial: _Trial, count: int) -> list[SearchJob]:
        """Compose the next jobs of a trial, one for each seed, and return them."""
        known = len(trial.jobs)
        for place, seed in [*enumerate(self._seeds or [""])][known : known + count]:
            overrides = [*self._fixed, *trial.overrides, *([f"seed={seed}"] if seed else [])]
            number = trial.number * max(1, len(self._seeds)) + place
            cfg, config = checked_job(self._loader, self._config, overrides, number)
            trial.jobs.append(SearchJob(trial, seed, overrides, number, cfg, config))
        trial.stored.set_user_attr("jobs", [os.path.relpath(job.folder, self.sweep) for job in trial.jobs])
        return trial.jobs[known:]

    @staticmethod
    def is_over(job: SearchJob) -> bool:
        """Return whether a job is complete or pruned, and need not be run."""
        return _is_over(job.folder)

    def run_elsewhere(self) -> set[int]:
        """Return the numbers of own trials whose jobs another command in this folder runs for an earlier trial."""
        with self._lock:
            running = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
            others = [
                trial
                for trial in running
                if trial.number not in self._running
                and trial.user_attrs.get("folder") == self._folder
                and self._is_alive(trial)
            ]
            return {
                own.number
                for own in self._running.values()
                for other in others
                if other.number < own.number and other.user_attrs["overrides"] == own.overrides
            }

    def ended(self, job: SearchJob) -> list[SearchJob]:
        """Tell the study the outcome of a job, once its trial has ended; return the jobs that are needed now."""
        with self._lock:
            try:
                more = self._ended_job(job)
            except optuna.exceptions.UpdateFinishedTrialError:
                log.warning("trial %d: another command took this one for dead", job.trial.number)
                self._running.pop(job.trial.number, None)
                more = []
            if job.trial.number not in self._running:
                for twin in self._waiting.pop(job.trial.number, []):
                    more += [own for each in [*twin.jobs] for own in self._ended_job(each)]
            return more

    def _ended_job(self, job: SearchJob) -> list[SearchJob]:
        trial = job.trial
        if trial.number not in self._running:  # another seed has failed
            return []
        if job.reports:
            (job.folder / TRIAL).unlink(missing_ok=True)
        metrics = read_metrics(job.folder)
        if metrics is None:
            self._end_incomplete(trial, job.folder)
        elif missing := [name for name in self.objectives.names if name not in metrics]:
            self._fail(trial, f"it has no {missing[0]}")
        else:
            trial.values[job.seed] = [metrics[name] for name in self.objectives.names]
            trial.seconds, trial.epochs = (
                trial.seconds + metrics["total_seconds"],
                trial.epochs + int(metrics["epochs"]),
            )
            left = max(1, len(self._seeds)) - len(trial.values)
            if not left:
                self._complete(trial)
            elif len(trial.values) == self.jobs_at_once == 1:
                step, value = planned_epochs(job), trial.values[job.seed][0]
                if not judge(self._study, self._pruner, step, {trial.number: value}):
                    return self._add_jobs(trial, left)
                self._end(trial, TrialState.PRUNED, f"pruned after the first of {left + 1} seeds")
        return []

    def _end_incomplete(self, trial: _Trial, folder: Path) -> None:
        if (folder / PRUNED).exists():
            pruned = read_json(folder / PRUNED)
            trial.epochs += pruned["epoch"]
            trial.seconds += pruned.get("seconds", math.nan)  # unknown if a kill came before the run could say so
            self._end(trial, TrialState.PRUNED, f"pruned after epoch {pruned['epoch']} of {pruned['epochs']}")
        else:
            failed = (folder / FAILURE).exists()
            self._fail(trial, str(read_json(folder / FAILURE)["error"]) if failed else "it was not run")

    def _complete(self, trial: _Trial) -> None:
        each = [*zip(*trial.values.values(), strict=True)]
        means = [statistics.fmean(values) for values in each]
        shown = []
        for name, mean, values in zip(self.objectives.names, means, each, strict=True):
            deviation = statistics.stdev(values) if len(values) > 1 else None
            shown.append(f"{name} {mean:.4f}" + ("" if deviation is None else f" ± {deviation:.4f}"))
        if len(self._seeds) > 1:
            trial.stored.set_user_attr("std", [statistics.stdev(values) for values in each])
        self._end(trial, TrialState.COMPLETE, "   ".join(shown), means)

    def _fail(self, trial: _Trial, why: str) -> None:
        trial.stored.set_user_attr("why", why)
        self._end(trial, TrialState.FAIL, f"failed: {one_line(Exception(why))}")

    def _end(self, trial: _Trial, state: TrialState, shown: str, values: Sequence[float] | None = None) -> None:
        if trial.jobs:
            planned = planned_epochs(trial.jobs[0]) * max(1, len(self._seeds))
            trial.stored.set_user_attr("epochs", {"trained": trial.epochs, "planned": planned})
        trial.stored.set_user_attr("values", trial.values)
        trial.stored.set_user_attr("seconds", None if math.isnan(trial.seconds) else trial.seconds)
        self._tell(trial.stored, state, values)
        self._running.pop(trial.number, None)
        self._ended += 1
        if trial.number not in self._announced:
            log.info("trial %d: %s%s", trial.number, shown, ", the best so far" * self._is_best(trial, state))
        self._give_sign()

    def _is_best(self, trial: _Trial, state: TrialState) -> bool:
        """Return whether a trial that has ended is the best one by the only objective."""
        single = len(self.objectives.names) == 1
        return single and state == TrialState.COMPLETE and self._study.best_trial.number == trial.number

    def _tell(self, trial: optuna.Trial, state: TrialState, values: Sequence[float] | None = None) -> None:
        try:
            self._study.tell(trial, values if state == TrialState.COMPLETE else None, state)
        except RuntimeError as error:
            if "Study.stop" not in str(error):  # a sampler of finitely many trials has none left
                raise

    # Workers.

    @property
    def _mark(self) -> dict[str, Any]:
        """What a trial stores of the worker that runs it."""
        return {"sign": time.time(), "worker": self._worker.attributes}

    def _own(self, trial: optuna.Trial) -> None:
        for name, value in self._mark.items():
            trial.set_user_attr(name, value)

    def _is_alive(self, trial: FrozenTrial) -> bool:
        worker = trial.user_attrs.get("worker")  # none if the trial is of an earlier version
        return worker is not None and self._worker.is_alive(worker, trial.user_attrs["sign"])

    def _queue(self, params: Mapping[str, Any], attributes: Mapping[str, Any]) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self._study.enqueue_trial(dict(params), dict(attributes))

    def _give_sign(self) -> None:
        """Store that this command is alive, and how long it has been searching."""
        try:
            self._study.set_user_attr(f"seconds/{self._worker.name}", time.monotonic() - self._began)
            for trial in list(self._running.values()):
                trial.stored.set_user_attr("sign", time.time())
        except Exception as error:  # a database that does not answer now may answer next time
            log.warning("the study could not be reached: %s", one_line(error))

    def _seconds(self) -> float:
        """Return the seconds of all commands that have taken part in the search."""
        own = f"seconds/{self._worker.name}"
        known = {name: float(value) for name, value in self._study.user_attrs.items() if name.startswith("seconds/")}
        return sum(known.values()) - known.get(own, 0.0) + time.monotonic() - self._began

    def _retry_lost(self) -> None:
        """Tell trials of dead workers as failed, and queue them once more, as often as configured."""
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            mine = trial.user_attrs.get("folder") == self._folder  # which is taken up
            if mine or self._is_alive(trial):
                continue
            stored, tried = optuna.Trial(self._study, trial._trial_id), trial.user_attrs.get("tried", 0)
            begun = "folder" in trial.user_attrs
            again = begun and tried < self._settings.get("retries", 1)
            why = DIED if begun else "it was cut off as it began"
            try:
                stored.set_user_attr("why", why)
                if again or not begun:
                    stored.set_user_attr(NOT_COUNTED, f"{why}; tried again" if again else why)
                self._tell(stored, TrialState.FAIL)
            except (ValueError, optuna.exceptions.UpdateFinishedTrialError):  # another command was faster
                continue
            log.warning("trial %d: %s%s", trial.number, why, "; it is tried again" if again else "")
            if again:
                overrides = trial.user_attrs["overrides"]
                attributes = {"tried": tried + 1, "again": trial.number, "overrides": overrides}
                self._queue(trial.params, attributes | self._mark)

    def _explain_lost(self) -> None:
        """Write to the folders of jobs that other commands took for dead what has become of their trials."""
        trials = self._study.get_trials(deepcopy=False)
        again = {trial.user_attrs["again"]: trial.number for trial in trials if "again" in trial.user_attrs}
        own = [trial for trial in trials if trial.user_attrs.get("folder") == self._folder]
        last = {self.sweep / job: trial for trial in own for job in trial.user_attrs.get("jobs", ())}
        for job, trial in last.items():
            lost = trial.state == TrialState.FAIL and trial.user_attrs.get("why") == DIED
            if not lost or _is_over(job) or not (job / JOB).exists():
                continue
            if trial.number in again:
                write_json(job / RETRIED, {"trial": trial.number, "again": again[trial.number]})
            elif not (job / FAILURE).exists():
                write_json(job / FAILURE, {"error": DIED})
            (job / TRIAL).unlink(missing_ok=True)

    def _discard(self, trial: optuna.Trial, why: str) -> None:
        trial.set_user_attr(NOT_COUNTED, why)
        self._tell(trial, TrialState.FAIL)

    def _counted(self) -> list[FrozenTrial]:
        return [trial for trial in self._study.get_trials(deepcopy=False) if NOT_COUNTED not in trial.user_attrs]

    def _begun(self) -> int:
        """Return the number of trials that have begun."""
        return sum(trial.state != TrialState.WAITING for trial in self._counted())

    def _frozen(self, trial: optuna.Trial) -> FrozenTrial:
        return self._study.get_trials(deepcopy=False)[trial.number]

    def begun_in(self, batch: int) -> int:
        """Return the number of trials of a batch of this sweep's folder that have begun."""
        trials = (trial.user_attrs for trial in self._counted())
        return sum(own.get("batch", (None,))[0] == batch and own.get("folder") == self._folder for own in trials)

    def left(self) -> int:
        """Return the number of trials that have not begun."""
        return self.n_trials - self._begun()

    # Judging.

    def judge(self, epoch: int, values: Mapping[int, float]) -> set[int]:
        """Store the values of several running trials after an epoch; return the numbers of those that are pruned.

        Optuna neither stores intermediate values of several objectives nor prunes by them.
        """
        if len(self.objectives.names) > 1:
            return set()
        pruned = judge(self._study, self._pruner, epoch, values)
        # After its last epoch, a run is complete, whatever the verdict.
        ended = sorted(number for number in pruned if epoch < planned_epochs(self._running[number].jobs[0]))
        if ended:
            which = ", ".join(map(str, ended))
            log.info("pruned after epoch %d: trial%s %s", epoch, "s" * (len(ended) > 1), which)
            self._announced.update(ended)
        return pruned

    def _sampler(self, ordinal: int) -> optuna.samplers.BaseSampler:
        """Build the sampler for the trial that has this place among those that count."""
        node = self._settings.get("sampler")
        if node is None:  # the trials of a grid
            return optuna.samplers.RandomSampler()
        seed, arguments = node.get("seed"), dict(node)
        if seed is not None and str(node.get("_target_")) not in OF_ONE_SEED:
            arguments["seed"] = zlib.crc32(f"{seed}/{ordinal}".encode())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return build("hydra.sweeper.sampler", arguments, optuna.samplers.BaseSampler)  # type: ignore[type-abstract]

    def _time_left(self) -> str:
        """Return how long the trials that are left may take, judging by those that have ended."""
        if not self._ended:
            return ""
        minutes = (time.monotonic() - self._began) / self._ended * (self.left() + len(self._running)) / 60
        return f", about {minutes:.0f} min left" if minutes >= 1 else ", less than a minute left"


def _is_over(folder: Path) -> bool:
    return any((folder / outcome).exists() for outcome in (METRICS, PRUNED))
