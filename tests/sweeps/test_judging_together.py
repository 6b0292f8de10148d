"""Verdicts on trials that reach an epoch together."""

import itertools

import optuna
import pytest

from vae_lightning.sweeps.pruning import judge

optuna.logging.set_verbosity(optuna.logging.WARNING)


@pytest.mark.parametrize("order", [*itertools.islice(itertools.permutations(range(9)), 0, None, 40_000)])
def test_successive_halving_keeps_the_best_third_whatever_the_order(order: tuple[int, ...]) -> None:
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=3)
    study = optuna.create_study()
    for _ in order:
        study.ask()
    pruned = judge(study, pruner, 1, {number: float(value) for number, value in enumerate(order)})
    assert {order[number] for number in range(9) if number not in pruned} == {0, 1, 2}
    left = {number: float(order[number]) for number in range(9) if number not in pruned}
    assert judge(study, pruner, 2, left) == set()
    assert {order[number] for number in left if number not in judge(study, pruner, 3, left)} == {0}


def test_one_trial_after_another_is_judged_as_by_the_pruner_itself() -> None:
    values = [5.0, 3.0, 4.0, 1.0, 2.0, 6.0, 0.5, 3.5]
    own, theirs = (optuna.create_study(pruner=optuna.pruners.SuccessiveHalvingPruner(1, 2)) for _ in range(2))
    for value in values:
        verdict = bool(judge(own, own.pruner, 1, {own.ask().number: value}))
        trial = theirs.ask()
        trial.report(value, 1)
        assert verdict == trial.should_prune()
