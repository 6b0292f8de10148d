"""Which jobs a grid runs: products, paired axes, several grids."""

from itertools import product
from pathlib import Path

import pandas as pd
import pytest
from conftest import Command
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st

from vae_lightning import InputError
from vae_lightning.sweeps.combinations import axes_of, combinations

SMALLEST = ["data=mnist_5k", "trainer=cpu", "debug=fast", "callbacks.probe=null", "callbacks.figures=null"]


def jobs(*grids: list[str], paired: list[list[str]] | None = None) -> list[list[str]]:
    parser = OverridesParser.create()
    return combinations([parser.parse_overrides(grid) for grid in grids], paired or [])


# Which jobs.


@given(st.lists(st.integers(1, 4), min_size=1, max_size=3))
def test_without_pairs_every_combination_is_a_job(lengths: list[int]) -> None:
    values = [[f"k{axis}={value}" for value in range(length)] for axis, length in enumerate(lengths)]
    grid = [f"k{axis}={','.join(map(str, range(length)))}" for axis, length in enumerate(lengths)]
    assert jobs(grid) == [[*job] for job in product(*values)]


@given(st.integers(2, 5), st.integers(1, 3))
def test_paired_axes_have_a_job_for_each_of_their_values_and_each_combination_of_the_others(
    length: int, others: int
) -> None:
    span = ",".join(map(str, range(length)))
    grid = [f"a={span}", f"seed={','.join(map(str, range(others)))}", f"b=range({length})"]
    found = jobs(grid, paired=[["a", "b"]])
    assert len(found) == length * others
    assert {(*job,) for job in found} == {
        (f"a={place}", f"b={place}", f"seed={seed}") for place in range(length) for seed in range(others)
    }


def test_the_jobs_of_several_grids_follow_one_another_each_once() -> None:
    found = jobs(["fixed=7", "a=1,2", "b=1"], ["fixed=7", "a=2", "b=1,3"])
    assert found == [["fixed=7", "a=1", "b=1"], ["fixed=7", "a=2", "b=1"], ["fixed=7", "a=2", "b=3"]]
    # The last values of a key count; a list is one value.
    assert jobs(["a=1,2", "b=[1,2]", "a=5"]) == [["a=5", "b=[1,2]"]]


@pytest.mark.parametrize(
    ("paired", "said"),
    [
        ([["a", "b"]], "hydra.sweeper.paired=[[a,b]]: must name axes of the same length, but a has 2, b has 3"),
        ([["a", "aa"]], "hydra.sweeper.paired=[[a,aa]]: there is no such name; did you mean a? allowed: a, b, c"),
        ([["a", "c"], ["b", "c"]], "hydra.sweeper.paired=[[a,c],[b,c]]: must name c only once"),
        ([["a", "one"]], "hydra.sweeper.paired=[[a,one]]: there is no such name"),
    ],
)
def test_axes_that_cannot_be_paired_are_refused(paired: list[list[str]], said: str) -> None:
    with pytest.raises(InputError) as raised:
        jobs(["a=1,2", "b=1,2,3", "c=1,2", "one=1"], paired=paired)
    assert str(raised.value).startswith(said)


def test_an_axis_that_is_paired_in_one_grid_alone_must_be_whole_there() -> None:
    assert len(jobs(["a=1,2", "b=3,4"], ["c=1,2"], paired=[["a", "b"]])) == 4
    with pytest.raises(InputError, match=r"a has 2, b has 0"):
        jobs(["a=1,2", "b=3,4"], ["a=1,2"], paired=[["a", "b"]])


def test_an_interval_is_no_axis_of_a_grid() -> None:
    with pytest.raises(InputError, match=r"a=interval\(1,2\): must be a list of values"):
        jobs(["a=interval(1,2)"])


def test_axes_are_what_varies_and_what_the_grids_name_unless_the_command_line_fixes_it() -> None:
    sweeper = {"params": {"a": "1,2", "b": 3}, "grids": [{"c": 1}, {"c": 2, "d": "1,2"}]}
    assert axes_of(sweeper, []) == {"a": True, "b": False, "c": True, "d": True}
    assert axes_of(sweeper, ["c=5", "+e=1,2", "b=4"]) == {"a": True, "b": False, "c": False, "d": True, "e": True}
    assert axes_of({}, ["x=1"]) == {"x": False}


# Through the command.


def test_pairs_and_grids_make_one_sweep_that_is_resumed(command: Command, tmp_path: Path) -> None:
    file = tmp_path / "mine/experiment/pairs.yaml"
    file.parent.mkdir(parents=True)
    text = """\
# @package _global_
hydra:
  sweeper:
    paired: [[model.latent_dim, optimizer.lr]]
    grids:
      - {model.latent_dim: '2,5', optimizer.lr: '1e-3,3e-3'}
      - {model.latent_dim: 2, optimizer.lr: 1e-3}
"""
    file.write_text(text)
    arguments = ["-m", *SMALLEST, "--config-dir", "mine", "experiment=pairs", "hydra/launcher=stacked", "sweep.name=s"]
    done = command("train", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "jobs 1 to 2 of 2\n" in done.stdout
    results = tmp_path / "outputs/sweeps/s/results.csv"
    assert [*pd.read_csv(results)["job"]] == ["latent_dim=2,lr=0.001", "latent_dim=5,lr=0.003"]
    assert "2 of 2 jobs are complete" in command("train", *arguments).stdout
    # The pairs become a product, and a grid is added.
    text = text.replace("    paired: [[model.latent_dim, optimizer.lr]]\n", "")
    file.write_text(f"{text}      - {{model.latent_dim: 3}}\n")
    again = command("train", *(word for word in arguments if word != "hydra/launcher=stacked"))
    assert again.returncode == 0, again.stdout + again.stderr
    assert again.stdout.count("is already complete") == 2
    assert "\njob 1 of 5\n" in again.stdout
    assert "\njob 5 of 5, about " in again.stdout
    table = pd.read_csv(results)
    assert set(table["status"]) == {"complete"}
    assert sorted(zip(table["latent_dim"], table["lr"], strict=True)) == [
        *((2, 0.001), (2, 0.003), (3, 0.001), (5, 0.001), (5, 0.003))
    ]


@pytest.mark.usefixtures("no_torch")
@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("hydra.sweeper.paired=[[seed,model.latent_dim]]", "must name axes of the same length"),
        ("hydra.sweeper.paired=[[seed,optimizer.lr]]", "there is no such name"),
        ("hydra.sweeper.paired=[[seed,seed]]", "must name seed only once"),
        ("hydra.sweeper.paired=[seed]", "must be a list of one or more values, each a list of"),
        ("hydra.sweeper.grids={seed:1}", "must be a list of one or more values, each a mapping of keys"),
    ],
)
def test_a_grid_that_cannot_be_run_is_refused_in_one_line(
    override: str, said: str, command: Command, tmp_path: Path
) -> None:
    done = command("train", "-m", *SMALLEST, "seed=1,2", "model.latent_dim=2,3,4", "sweep.name=s", override)
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.startswith("error: hydra.sweeper.")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
