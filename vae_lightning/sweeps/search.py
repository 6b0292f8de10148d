"""A search with Optuna: its objective, the trials that are left, and those that were cut off."""

import warnings
from collections.abc import Iterable
from pathlib import Path

from omegaconf import DictConfig

from vae_lightning.config.errors import InputError
from vae_lightning.config.rules import check_choice
from vae_lightning.runs.directory import in_use, job_folders
from vae_lightning.runs.metric_names import logged_names

__all__ = ["check_objective", "remaining_trials"]

# The study's attribute that holds the numbers of the trials that were cut off and queued again.
CUT_OFF = "cut_off"


def check_objective(config: DictConfig, axes: Iterable[str]) -> None:
    """Refuse an objective that no trial will log, with which all trials would fail.

    Arguments:
        config: the multirun's configuration.
        axes: the keys that the search chooses.

    Raises:
        InputError: naming the key.
    """
    names = logged_names(config.model, config.callbacks)
    # A trial may choose another model, data set or callback.
    if names is None or any("." not in axis or axis.startswith(("callbacks.", "data.", "trainer.")) for axis in axes):
        return
    given = f"sweep.objective={config.sweep.objective}"
    check_choice(given, config.sweep.objective, names)
    without = {}
    if str(config.data.get("_target_")).startswith("vae_lightning.") and config.data.get("val_size") == 0:
        without["data.val_size"] = {name for name in names if name.startswith("val/")} | {"probe/val_acc"}
    if config.trainer.get("limit_val_batches") == 0:
        without["trainer.limit_val_batches"] = {name for name in names if name.startswith("val/")}
    for key, missing in without.items():
        if config.sweep.objective in missing:
            raise InputError(f"{given}: must be a metric of training, because {key}=0")


def remaining_trials(sweeper: DictConfig, sweep: Path) -> int:
    """Return the number of trials that a search still has to run; queue those that were cut off once more.

    ``n_trials`` is the total of a search. A killed process leaves its trial in the study as running, for ever: it is
    marked as failed, does not count, and a new trial with its parameters, and so with its folder, resumes its job.

    Arguments:
        sweeper: the sweeper's configuration, with ``n_trials`` and, if the study is stored, ``study_name`` and
            ``storage``.
        sweep: the search's folder.
    """
    total: int = sweeper.n_trials
    name, storage = sweeper.get("study_name"), sweeper.get("storage")
    if name is None or storage is None:
        return total
    import optuna  # imported here because it takes a second

    try:
        study = optuna.load_study(study_name=name, storage=storage)
    except KeyError:  # there is none yet
        return total
    cut_off: list[int] = study.user_attrs.get(CUT_OFF, [])
    # The trials of another process that takes part in the same search are running indeed.
    if not any(map(in_use, job_folders(sweep))):
        for trial in study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                study.enqueue_trial(trial.params)
            cut_off = [*cut_off, trial.number]
            study.set_user_attr(CUT_OFF, cut_off)
            study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    ended = [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
    return max(0, total - sum(trial.number not in cut_off for trial in ended))
