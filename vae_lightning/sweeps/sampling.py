"""Sampling: the values of a trial are chosen in a copy of the study, so that a kill leaves no half of a trial."""

from collections.abc import Mapping
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from vae_lightning.sweeps.search_space import SearchSpace
from vae_lightning.sweeps.study import NOT_COUNTED, study_in_memory

__all__ = ["sampled_trial"]

# The user attribute of a trial that holds what the sampler noted in the study as it chose the trial's values, such as a
# place in a sequence, which trials that do not count have not taken.
NOTED = "noted"


def sampled_trial(
    study: optuna.Study, sampler: optuna.samplers.BaseSampler, space: SearchSpace, attributes: Mapping[str, Any]
) -> FrozenTrial:
    """Choose the values of a new trial; return it as running, for a single write to add it to the study.

    Arguments:
        study: the study, which stays as it is.
        sampler: chooses the values.
        space: the values to choose from.
        attributes: the trial's user attributes, besides ``overrides``.
    """
    trials = study.get_trials(deepcopy=False)
    begun = [trial for trial in trials if trial.state != TrialState.WAITING]
    copied = study_in_memory(study, begun, sampler=sampler, pruner=study.pruner)
    storage, key = copied._storage, copied._study_id
    for trial in trials:
        for name, value in {} if NOT_COUNTED in trial.user_attrs else trial.user_attrs.get(NOTED, {}).items():
            storage.set_study_system_attr(key, name, value)
    before = dict(storage.get_study_system_attrs(key))
    overrides = space.suggest(copied.ask())
    chosen = copied.get_trials(deepcopy=False)[-1]
    noted = {name: value for name, value in storage.get_study_system_attrs(key).items() if before.get(name) != value}
    return optuna.trial.create_trial(
        state=TrialState.RUNNING,
        params=chosen.params,
        distributions=chosen.distributions,
        user_attrs={"overrides": overrides, **({NOTED: noted} if noted else {}), **attributes},
        system_attrs=chosen.system_attrs,
    )
