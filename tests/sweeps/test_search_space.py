"""The space of a search: what it suggests, in Hydra's grammar of overrides."""

import math
from contextlib import suppress
from typing import Any

import optuna
import pytest
from conftest import composing
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st

from vae_lightning import InputError
from vae_lightning.sweeps.search_space import SearchSpace


def parsed(overrides: list[str]) -> dict[str, Any]:
    """What Hydra reads in overrides, by key."""
    found = OverridesParser.create().parse_overrides(overrides)
    return {override.get_key_element().lstrip("+"): override.value() for override in found}


def suggested(space: SearchSpace, sampler: optuna.samplers.BaseSampler, count: int = 1) -> list[list[str]]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(sampler=sampler)
    found = []
    for _ in range(count):
        trial = study.ask()
        found.append(space.suggest(trial))
        with suppress(RuntimeError):  # of a sampler that has tried all values
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        again = optuna.trial.FixedTrial(trial.params)  # as a trial of a dead worker is tried again
        assert space.suggest(again) == found[-1]  # type: ignore[arg-type]
    return found


NUMBERS = st.floats(-1e6, 1e6, allow_nan=False).map(lambda number: round(number, 3))
WHOLE = st.integers(-1000, 1000)


@st.composite
def axes(draw: st.DrawFn) -> tuple[str, Any]:
    """The values of an axis as text, and a test of whether one is in it."""
    kind = draw(st.sampled_from(["choice", "range", "interval", "whole", "log", "log whole"]))
    if kind == "choice":
        values = draw(st.lists(st.one_of(WHOLE, NUMBERS, st.sampled_from(["a", "b c", "true", "1e-3"]))))
        texts = [*dict.fromkeys(f"'{text}'" if " " in str(text) else str(text) for text in [0, *values])]
        options = [parsed([f"x={text}"])["x"] for text in texts]
        return f"choice({','.join(texts)})", lambda value: value in options
    low, high = sorted([draw(WHOLE), draw(WHOLE)])
    if kind == "range":
        step = draw(st.integers(1, 9))
        return f"range({low},{high + 1},{step})", lambda value: value in range(low, high + 1, step)
    if kind == "interval":
        start, end = sorted([draw(NUMBERS), draw(NUMBERS)])
        return f"interval({start},{end})", lambda value: start <= value <= end
    if kind == "whole":
        return f"int(interval({low},{high}))", lambda value: type(value) is int and low <= value <= high
    low, high = sorted([draw(st.integers(1, 1000)), draw(st.integers(1, 1000))])
    if kind == "log":
        start, end = low / 1000, high / 1000
        return f"tag(log,interval({start},{end}))", lambda value: start <= value <= end
    return f"tag(log,int(interval({low},{high})))", lambda value: type(value) is int and low <= value <= high


@settings(max_examples=100, deadline=None)
@given(st.lists(axes(), min_size=1, max_size=3), st.integers(0, 9))
def test_what_is_suggested_is_in_the_space_as_hydra_reads_it(drawn: list[tuple[str, Any]], seed: int) -> None:
    space = SearchSpace(None, [f"x{place}={text}" for place, (text, _) in enumerate(drawn)], {})
    for overrides in [*suggested(space, optuna.samplers.RandomSampler(seed=seed), 5), *space.examples()]:
        values = parsed(overrides)
        assert [*values] == [f"x{place}" for place in range(len(drawn))]
        assert all(fits(values[f"x{place}"]) for place, (_, fits) in enumerate(drawn)), overrides


def alike(value: Any, other: Any) -> bool:
    """Whether two values are equal and of one type; floats, but for rounding."""
    return type(value) is type(other) and (
        math.isclose(value, other, abs_tol=1e-12) if isinstance(value, float) else value == other
    )


@pytest.mark.filterwarnings("error::UserWarning", "ignore::optuna.exceptions.ExperimentalWarning")
@pytest.mark.parametrize(
    "text",
    [
        *("range(5)", "range(2,32)", "range(2,32,7)", "range(5,1,-1)", "range(5,1,-2)", "range(0,1,0.25)"),
        *(
            "range(0,1,0.1)",
            "range(0.5,3)",
            "range(1,0,-0.3)",
            "range(0.1,0.85,0.1)",
            "range(-3,3,2)",
            "1,2",
            "choice(1,1.5,a)",
            "true,1,1.0",
        ),
        *("choice([1,2],[3])", "choice({a:1},{a:2})", "'a b',c", "null,x", "1,1"),
    ],
)
def test_values_are_those_of_hydras_sweeps(text: str) -> None:
    (override,) = OverridesParser.create().parse_overrides([f"x={text}"])
    expected = [parsed([f"x={value}"])["x"] for value in dict.fromkeys(override.sweep_string_iterator())]
    space = SearchSpace(None, [f"x={text}"], {})
    assert space.size == len(expected)
    found = suggested(space, optuna.samplers.BruteForceSampler(seed=1), len(expected))
    values = [parsed(each)["x"] for each in found]
    assert len(values) == len(expected)
    assert all(sum(alike(each, value) for each in values) == 1 for value in expected)


def test_a_glob_has_all_choices_of_a_group() -> None:
    with composing():
        loader = GlobalHydra.instance().config_loader()
        space = SearchSpace(loader, ["posterior=glob(*,exclude=[g*,m*])"], {})
    groups = {example[0].partition("=")[2] for example in space.examples()}
    assert {"laplace", "logistic"} <= groups
    assert not any(name.startswith(("g", "m")) for name in groups)


CONDITIONAL = ["optimizer=adam,sgd,lbfgs", "optimizer.momentum=interval(0,1)", "+a.b=1,2", "x=range(3)"]
CONDITIONS = {"optimizer.momentum": "optimizer=sgd,lbfgs", "a.b": "optimizer=sgd"}


def check_conditions(values: dict[str, Any]) -> None:
    assert ("optimizer.momentum" in values) == (values["optimizer"] in ("sgd", "lbfgs"))
    assert ("a.b" in values) == (values["optimizer"] == "sgd")
    assert "x" in values


@pytest.mark.parametrize("order", [CONDITIONAL, CONDITIONAL[::-1]])
def test_a_key_with_a_condition_is_chosen_only_where_it_holds(order: list[str]) -> None:
    space = SearchSpace(None, order, CONDITIONS)
    found = [parsed(chosen) for chosen in suggested(space, optuna.samplers.RandomSampler(seed=0), 40)]
    for values in found:
        check_conditions(values)
    assert {values["optimizer"] for values in found} == {"adam", "sgd", "lbfgs"}
    assert space.size is None


def test_conditions_may_follow_one_another() -> None:
    space = SearchSpace(None, ["c=1,2", "b=3,4", "a=5,6"], {"c": "b=4", "b": "a=6"})
    found = {tuple(chosen) for chosen in suggested(space, optuna.samplers.RandomSampler(seed=0), 60)}
    expected = [("a=5",), ("a=6", "b=3"), ("a=6", "b=4", "c=1"), ("a=6", "b=4", "c=2")]
    assert found == {*expected}
    assert {tuple(example) for example in space.examples()} == {*expected}


def test_examples_have_each_choice_and_the_ends_of_each_range() -> None:
    space = SearchSpace(None, [*CONDITIONAL, "lr=tag(log,interval(1e-4,1e-2))", "n=range(10,2,-3)"], CONDITIONS)
    seen = set()
    for example in space.examples():
        check_conditions(parsed(example))
        seen |= {*example}
    choices = {"optimizer=adam", "optimizer=sgd", "optimizer=lbfgs", "+a.b=1", "+a.b=2"}
    ends = {"optimizer.momentum=0.0", "optimizer.momentum=1.0", "x=0", "x=2", "n=4", "n=10", "lr=0.0001", "lr=0.01"}
    assert seen == choices | ends


def test_the_last_of_two_values_of_a_key_counts() -> None:
    space = SearchSpace(None, ["x=1,2", "x=3,4"], {})
    assert space.examples() == [["x=3"], ["x=4"]]


@pytest.mark.parametrize(
    ("axes", "conditions", "message"),
    [
        (["x=tag(lg,interval(1,2))"], {}, "x=tag(lg,interval(1,2)): has the tag lg; must be log, or none"),
        (["x=range(3,3)"], {}, "x=range(3,3): must be a range of numbers"),
        (["x=interval(2,1)"], {}, "x=interval(2,1): must be a range of numbers"),
        (["x=tag(log,interval(0,1))"], {}, "x=tag(log,interval(0,1)): must be a range of numbers"),
        (["x=tag(log,range(1,9,2))"], {}, "x=tag(log,range(1,9,2)): must be a range of numbers"),
        (["x=interval(0,inf)"], {}, "x=interval(0,inf): must be a range of numbers"),
        (["x=interval(0,nan)"], {}, "x=interval(0,nan): must be a range of numbers"),
        (["x=1,2"], {"y": "x=1"}, "hydra.sweeper.conditions.y=x=1: there is no such name"),
        (["x=1,2", "y=3,4"], {"y": "z=1"}, "hydra.sweeper.conditions.y=z=1: there is no such name"),
        (["x=1,2", "y=3,4"], {"y": "x=3"}, "hydra.sweeper.conditions.y=x=3: there is no such name"),
        (["x=1,2", "y=3,4"], {"y": "x"}, "hydra.sweeper.conditions.y=x: must be OTHER=VALUE"),
        (["x=1,2", "y=3,4"], {"y": "y=3"}, "hydra.sweeper.conditions.y=y=3: must be OTHER=VALUE"),
        (["x=1,2", "y=3,4"], {"y": "x=1", "x": "y=3"}, "hydra.sweeper.conditions: must not depend on each other"),
    ],
)
def test_a_space_that_makes_no_sense_is_refused(axes: list[str], conditions: dict[str, str], message: str) -> None:
    with pytest.raises(InputError) as caught:
        SearchSpace(None, axes, conditions)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
