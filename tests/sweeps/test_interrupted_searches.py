"""Searches that are killed at random moments end as those that nothing has happened to."""

import random
import time
from pathlib import Path

import pytest
from searching import Begin, counted, own_study, results, states

pytestmark = pytest.mark.slow

PRUNED = ["hydra/sweeper/pruner=successive_halving", "hydra.sweeper.seeds=[1,2]"]
STACKED = [
    *PRUNED,
    "hydra/launcher=stacked",
    "hydra.sweeper.n_jobs=6",
    "hydra.sweeper.n_trials=10",
    "trainer.max_epochs=9",
]
ALONE = [*PRUNED, "hydra.sweeper.n_trials=6", "trainer.max_epochs=4"]


@pytest.mark.parametrize(("options", "kills"), [(STACKED, 20), (ALONE, 8)], ids=["stacked", "basic"])
def test_kills_change_no_trial_value_or_pruning(options: list[str], kills: int, tmp_path: Path, search: Begin) -> None:
    began = time.monotonic()
    search(tmp_path / "whole", *options).end()
    seconds = time.monotonic() - began
    whole = counted(own_study(tmp_path / "whole"))
    assert {*states(whole)} == {"COMPLETE", "PRUNED"}
    moments = random.Random(0)
    for _ in range(kills):
        command = search(tmp_path / "killed", *options)
        command.process.join(moments.uniform(0, seconds / 2))
        command.kill()
    search(tmp_path / "killed", *options).end()
    killed = counted(own_study(tmp_path / "killed"))
    assert states(killed) == states(whole)
    for found, expected in zip(killed, whole, strict=True):
        assert found.params == pytest.approx(expected.params, rel=1e-6)
        # A stack of another size rounds in other ways.
        assert found.values == (expected.values and pytest.approx(expected.values, rel=1e-4))
        assert found.intermediate_values == pytest.approx(expected.intermediate_values, rel=1e-4)
        assert len(found.user_attrs["jobs"]) == len(expected.user_attrs["jobs"])
    assert set(results(tmp_path / "killed")["status"]) == {"complete", "pruned"}
