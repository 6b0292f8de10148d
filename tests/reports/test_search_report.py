"""The report of a search: its trials in tables and pictures, importances, the Pareto front, and what pruning saved."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import optuna
import pandas as pd
import pytest
from conftest import fake_job
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from vae_lightning.reports.importances import LEAST, find_importances
from vae_lightning.reports.outliers import window
from vae_lightning.reports.pareto_front import front_of, hypervolume, hypervolumes
from vae_lightning.reports.report import closing_lines, write_report
from vae_lightning.reports.results import read_jobs
from vae_lightning.reports.trial_pictures import draw_trials
from vae_lightning.reports.trials import Search, Trial, read_search
from vae_lightning.runs.directory import PRUNED

LR = "optimizer.lr"
SPACE: dict[str, optuna.distributions.BaseDistribution] = {
    LR: FloatDistribution(1e-5, 1e-1, log=True),
    "model.latent_dim": IntDistribution(2, 50),
    "$x_{": CategoricalDistribution(["<b>", "_a$", None]),
    "_beta": FloatDistribution(0.0, 4.0),  # only some trials have it
}
FLAT = {name: space for name, space in SPACE.items() if name != "_beta"}


def frozen(
    params: Mapping[str, Any], value: float | Sequence[float] | None = None, state: str = "COMPLETE", **attributes: Any
) -> optuna.trial.FrozenTrial:
    """A trial as the search stores it."""
    steps = attributes.pop("steps", {})
    several = value if isinstance(value, Sequence) else None
    return optuna.create_trial(
        state=TrialState[state],
        params={**params},
        distributions={name: SPACE[name] for name in params},
        value=None if several else value,  # type: ignore[arg-type]
        values=several,
        user_attrs=attributes,
        intermediate_values=steps,
    )


def stored(sweep: Path, trials: Sequence[optuna.trial.FrozenTrial], *objectives: str) -> Path:
    """Store a search in a sweep's folder, as the engine does."""
    sweep.mkdir(parents=True, exist_ok=True)
    names = objectives or ("val/loss",)
    study = optuna.create_study(
        storage=f"sqlite:///{sweep / 'study.db'}",
        study_name="s",
        directions=["maximize" if name.endswith("_acc") else "minimize" for name in names],
    )
    study.set_user_attr("objectives", [*names])
    study.add_trials([*trials])
    (sweep / "search.json").write_text(json.dumps({"storage": None, "study": "s"}))
    return sweep


def params_of(place: int) -> dict[str, Any]:
    odd: Any = ("<b>", "_a$", None)[place % 3]
    params = {LR: 10 ** (-5 + 4 * (place * 0.618 % 1)), "model.latent_dim": 2 + place * 7 % 48, "$x_{": odd}
    return params | ({"_beta": place * 0.377 % 4} if place % 3 else {})


def mixed(count: int = 24) -> list[optuna.trial.FrozenTrial]:
    """Complete, pruned and failed trials, and others that are not counted."""
    trials = []
    for place in range(count):
        loss = 100 + (math.log10(params_of(place)[LR]) + 3) ** 2
        steps = {epoch: loss + 100 / epoch for epoch in range(1, 5)}
        own: dict[str, Any] = {"steps": steps, "epochs": {"trained": 8, "planned": 8}, "seconds": 16.0}
        trials.append(frozen(params_of(place), loss, std=0.5, **own))
    short: dict[str, Any] = {"steps": {1: 300.0, 2: 250.0}, "epochs": {"trained": 2, "planned": 8}, "seconds": 10.0}
    trials.append(frozen(params_of(count), state="PRUNED", **short))
    trials.append(frozen(params_of(count + 1), state="FAIL"))
    trials.append(frozen(params_of(count + 2), 1.0, not_counted="surplus", epochs={"trained": 8, "planned": 8}))
    trials += [frozen(params_of(count + 3), state="RUNNING"), frozen({}, state="WAITING")]
    return trials


def search_of(values: Sequence[Sequence[float]], higher: Sequence[bool]) -> Search:
    unknown = [math.nan] * len(higher)
    trials = [Trial(number, "complete", [*of], unknown, {}, {}, 0, 0, math.nan, []) for number, of in enumerate(values)]
    return Search([f"objective {place}" for place in range(len(higher))], [*higher], trials, {})


def pictures(sweep: Path) -> set[str]:
    return {path.stem for path in sweep.glob("figures/*")}


# The front and its volume.


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(st.integers(0, 6), min_size=3, max_size=3), min_size=1, max_size=8))
def test_the_hypervolume_is_the_number_of_the_cells_that_the_points_dominate(points: list[list[int]]) -> None:
    reference = np.array([7.0, 7.0, 7.0])
    cells = np.stack(np.meshgrid(*[np.arange(7)] * 3), axis=-1).reshape(-1, 3)
    dominated = (cells[:, None] >= np.array(points)[None]).all(axis=-1).any(axis=-1)
    assert hypervolume(np.array(points, dtype=float), reference) == pytest.approx(dominated.sum())


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=12))
def test_the_front_is_optunas_and_the_hypervolume_never_falls(values: list[tuple[int, int]]) -> None:
    study = optuna.create_study(directions=["minimize", "maximize"])
    study.add_trials([optuna.create_trial(values=[float(value) for value in pair]) for pair in values])
    search = search_of([[float(value) for value in pair] for pair in values], [False, True])
    assert {trial.number for trial in front_of(search)} == {trial.number for trial in study.best_trials}
    volumes = hypervolumes(search)
    assert (np.diff(volumes) >= -1e-12).all()
    assert all(0 <= volume <= 1 + 1e-12 for volume in volumes)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1), st.booleans())
def test_an_axis_has_the_good_values_and_leaves_out_bad_ones_alone(values: list[float], higher: bool) -> None:
    (low, high), beyond = window(values, higher)
    assert low < high
    inside = [value for value, out in zip(values, beyond, strict=True) if not out]
    assert all(low <= value <= high for value in inside)
    best = max(values) if higher else min(values)
    assert best in inside
    assert window([*[best] * 5, best + 1, best - 1], higher)[1].sum() <= 1


# Importances.


def test_the_importances_find_what_matters_on_the_scale_of_the_search(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    trials = []
    for place in range(60):
        params = {LR: 10 ** float(generator.uniform(-5, -1)), "model.latent_dim": int(generator.integers(2, 50))}
        trials.append(frozen(params, float(1e6 if place == 7 else abs(math.log10(params[LR]) + 3))))
    search = read_search(stored(tmp_path, trials))
    assert search is not None
    ((objective, mean, std),) = find_importances(search)
    assert objective == "val/loss"
    assert [*mean] == [*std] == [LR, "model.latent_dim"]
    assert sum(mean.values()) == pytest.approx(1)
    assert mean[LR] > 0.8
    assert 0 < std[LR] < 0.2
    few = search._replace(trials=search.trials[: LEAST - 1])
    constant = search._replace(trials=[trial._replace(values=[1.0]) for trial in search.trials])
    assert find_importances(few) == find_importances(constant) == []


# Tables.


def test_the_trials_are_listed_best_first_with_those_that_do_not_count_left_out(tmp_path: Path) -> None:
    sweep = stored(tmp_path / "s", mixed())
    job = fake_job(sweep, {"latent_dim": 2})
    (job / PRUNED).write_text('{"epoch": 4, "epochs": 10}')
    results = write_report(sweep)
    assert results[["status", "why"]].to_numpy().tolist() == [["pruned", "after epoch 4 of 10"]]
    table = pd.read_csv(sweep / "trials.csv")
    assert table["state"].tolist() == ["complete"] * 24 + ["pruned", "running", "waiting", "failed"]
    losses = table["val/loss"].dropna()
    assert len(losses) == 24
    assert losses.is_monotonic_increasing
    assert 26 not in table["number"].to_list()
    assert sorted(table[LR][:24]) == pytest.approx(sorted(params_of(place)[LR] for place in range(24)))
    summary, page = ((sweep / name).read_text() for name in ("summary.md", "report.html"))
    page = page.partition('id="content">')[2].partition("</script>")[0]
    counts = "28 trials: 24 complete, 1 pruned, 1 failed, 1 running, 1 waiting; 194 of 200 epochs trained"
    for text in (summary, page, closing_lines(sweep)):
        assert counts in text
        # The pruned trial's own speed: 6 epochs of 5 s each.
        assert "pruning saved about 30 s of an estimated 7 min" in text
    best = table.iloc[0]
    assert f"| {best['val/loss']:.2f} ± 0.50 | {best['number']} | complete | " in summary
    assert f"{best[LR]:.4g}" in summary
    assert "Jobs that are not complete" not in summary
    assert "<b>" not in page


def test_the_closing_lines_name_the_five_best_and_only_the_first_is_called_best(tmp_path: Path) -> None:
    sweep = stored(tmp_path / "s", mixed())
    fake_job(sweep, {"latent_dim": 2}, **{"val/loss": 1.0})
    lines = closing_lines(sweep).splitlines()
    assert [line.split()[0] for line in lines] == [
        *("best", "second", "third", "fourth", "fifth"),
        *("trials", "results", "report"),
    ]
    first = min((params_of(place) for place in range(24)), key=lambda params: abs(math.log10(params[LR]) + 3))
    assert f"{LR}={first[LR]:.4g}, " in lines[0]
    assert lines[0].endswith(" ± 0.50")


def test_the_test_metrics_are_those_of_the_best_trials_jobs(tmp_path: Path) -> None:
    sweep = tmp_path / "s"
    jobs = [
        fake_job(sweep, {"lr": lr, "seed": seed}, **{"val/loss": lr, "test/loss": 10 * lr + seed}).name
        for lr in (1, 2)
        for seed in (0, 2)
    ]
    stored(sweep, [frozen({LR: 1e-3}, 2.0, jobs=jobs[2:], std=0.0), frozen({LR: 1e-4}, 1.0, jobs=jobs[:2], std=0.0)])
    write_report(sweep)
    summary = (sweep / "summary.md").read_text()
    assert "11.00 ± 1.41" in summary
    assert "21.00" not in summary
    assert "test       test/loss 11.00 ± 1.41" in closing_lines(sweep)


def test_several_objectives_have_a_front_instead_of_a_best(tmp_path: Path) -> None:
    pairs = [(100.0, 0.5), (110.0, 0.9), (120.0, 0.8), (105.0, 0.6)]
    trials = [frozen({LR: 10.0 ** (-2 - place)}, pair, std=[0.5, 0.01]) for place, pair in enumerate(pairs)]
    sweep = stored(tmp_path / "s", trials, "val/loss", "probe/val_acc")
    fake_job(sweep, {"latent_dim": 2}, **{"val/loss": 1.0, "test/loss": 77.0})
    write_report(sweep)
    lines = closing_lines(sweep).splitlines()
    assert [line.split()[0] for line in lines] == ["front"] * 3 + ["trials", "results", "report"]
    assert lines[0].endswith("val/loss 100.00 ± 0.50   probe/val_acc 0.5000 ± 0.0100")
    summary = (sweep / "summary.md").read_text()
    front = summary.partition("## Pareto front")[2].partition("## Trials")[0]
    assert [row.split(" | ")[2] for row in front.strip().splitlines()[2:]] == ["0", "3", "1"]
    assert "77.0" not in summary
    assert {"pareto_front", "history", "slices", "parallel"} <= pictures(sweep)


# Pictures.


def test_a_search_has_its_own_pictures_and_no_heat_map_and_changes_nothing_of_matplotlib(tmp_path: Path) -> None:
    sweep = stored(tmp_path / "s", mixed())
    for lr in (0.0008897001125587898, 0.01):
        for beta in (1, 2):
            fake_job(sweep, {"lr": lr, "beta": beta}, **{"val/loss": lr})
    before = dict(matplotlib.rcParams)
    write_report(sweep)
    assert dict(matplotlib.rcParams) == before
    assert pictures(sweep) == {"history", "slices", "parallel", "pairs", "importances", "pruning"}


@pytest.mark.parametrize(
    ("trials", "drawn"),
    [
        ([], set()),
        ([frozen({}, state="WAITING")], set()),
        ([frozen(params_of(1), state="FAIL"), frozen(params_of(2), state="PRUNED")], set()),
        ([frozen(params_of(1), state="PRUNED", steps={1: 3.0, 2: 2.0})], {"pruning"}),
        ([frozen(params_of(1), 1.0)], {"history"}),
        ([frozen(params_of(1), 1.0), frozen(params_of(1), 1.0)], {"history"}),
        ([frozen(params_of(place), 1.0) for place in (1, 2)], {"history", "slices", "parallel", "pairs"}),
        ([frozen(params_of(1), math.inf), frozen(params_of(2), math.inf)], set()),
        ([frozen({LR: 1e-3}, 1.0), frozen({"_beta": 1.0}, 2.0)], {"history", "slices", "parallel", "pairs"}),
        ([frozen({LR: 1e-3}, 1.0), frozen({LR: 1e-2}, 900.0)], {"history", "slices", "parallel"}),
    ],
    ids=["none", "waiting", "failed", "pruned", "one", "the same", "constant", "infinite", "conditional", "one axis"],
)
def test_any_trials_have_their_pictures(
    trials: list[optuna.trial.FrozenTrial], drawn: set[str], tmp_path: Path
) -> None:
    sweep = stored(tmp_path / "s", trials)
    fake_job(sweep, {"latent_dim": 2})
    write_report(sweep)
    assert pictures(sweep) == drawn
    assert closing_lines(sweep)


def test_a_log_axis_is_logarithmic_and_ticks_are_short(tmp_path: Path) -> None:
    search = read_search(stored(tmp_path, mixed()))
    assert search is not None
    figures = {name: figure for name, _, figure in draw_trials(search, ["model.latent_dim", LR])}
    panels = {axes.get_xlabel(): axes for axes in figures["slices"].axes}
    assert [*panels][:4] == ["model.latent_dim", LR, r"\$x_{", " _beta"]
    assert (panels[LR].get_xscale(), panels["model.latent_dim"].get_xscale()) == ("log", "linear")
    assert [label.get_text() for label in panels[r"\$x_{"].get_xticklabels()] == ["<b>", "None", r" _a\$"]
    for figure in figures.values():
        figure.canvas.draw()
        for axes in figure.axes:
            for label in [*axes.get_xticklabels(), *axes.get_yticklabels(), *axes.texts]:
                assert len(label.get_text().partition(".")[2]) <= 18, label.get_text()


def test_the_best_value_so_far_is_drawn_over_the_trials(tmp_path: Path) -> None:
    search = read_search(stored(tmp_path, [frozen({LR: 1e-3}, value) for value in (5.0, 7.0, 3.0, 4.0)]))
    assert search is not None
    ((_, _, figure),) = draw_trials(search)
    (line,) = [line for line in figure.axes[0].lines if line.get_label() == "best so far"]
    assert line.get_ydata() == pytest.approx([5.0, 5.0, 3.0, 3.0])
    assert figure.axes[0].get_ylabel() == "val/loss, nats per image"


# Where the study is.


def test_a_study_that_cannot_be_read_costs_the_trials_alone(tmp_path: Path) -> None:
    fake_job(tmp_path, {"latent_dim": 2}, **{"val/loss": 100.0})
    (tmp_path / "search.json").write_text('{"storage": null, "study": "another"}')
    write_report(tmp_path)
    assert "best       latent_dim=2   val/loss 100.00" in closing_lines(tmp_path)
    for text in (closing_lines(tmp_path), (tmp_path / "summary.md").read_text()):
        assert "The study of the search cannot be read (" in text


@pytest.mark.parametrize(
    ("storage", "shown"),
    [(None, "sqlite:///s/study.db"), ("postgresql://me:secret@host/db", "'postgresql://me:***@host/db'")],
)
def test_the_dashboard_is_named_where_it_is_installed(
    storage: str | None, shown: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sweep = stored(tmp_path / "s", [frozen({LR: 1e-3}, 1.0)])
    fake_job(sweep, {"latent_dim": 2}, **{"val/loss": 1.0})
    study = read_search(sweep)
    (sweep / "search.json").write_text(json.dumps({"storage": storage, "study": "s"}))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("vae_lightning.reports.report.read_search", lambda _: study)
    assert "dashboard" not in closing_lines(sweep)
    monkeypatch.setattr("vae_lightning.reports.search_report.find_spec", lambda _: "found")
    assert closing_lines(sweep).splitlines()[-1] == f"dashboard  optuna-dashboard {shown}"


# Pruned jobs of any sweep.


@pytest.mark.parametrize("content", ["", "[]", '{"epoch": 4}', '{"epoch": "4", "epochs": 10}'])
def test_a_damaged_record_of_pruning_is_named(content: str, tmp_path: Path) -> None:
    (fake_job(tmp_path, {"latent_dim": 2}) / PRUNED).write_text(content)
    (row,) = read_jobs(tmp_path).to_dict("records")
    assert (row["status"], row["why"].partition(":")[0]) == ("damaged", "pruned.json")


def test_the_pruned_jobs_of_a_grid_are_counted(tmp_path: Path) -> None:
    fake_job(tmp_path, {"latent_dim": 2}, **{"val/loss": 1.0})
    (fake_job(tmp_path, {"latent_dim": 5}) / PRUNED).write_text('{"epoch": 1, "epochs": 3}')
    write_report(tmp_path)
    assert "pruned     1 of 2 jobs" in closing_lines(tmp_path)
    summary = (tmp_path / "summary.md").read_text()
    assert "2 jobs: 1 complete, 1 pruned." in summary
    assert "not complete" not in summary
