"""The page of a report, as a browser without a network shows it."""

import json
import re
import shutil
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import fake_job
from PIL import Image

from vae_lightning.reports.page import content
from vae_lightning.reports.page.page import write_page
from vae_lightning.reports.page.pictures import ROOM, embedded_pictures
from vae_lightning.reports.results import SweepResults, measured, rank, read_sweep
from vae_lightning.reports.trials import Search, Trial

Open = Callable[..., Any]
HOSTILE = ["<img src=x onerror=alert(1)>", "</script><script>alert(2)</script>", "<b>$x_{</b> & %{y}"]


@pytest.fixture
def opened(browser: Any) -> Iterator[Open]:
    """``opened(path, **options)``, the page in a browser; any error, dialog or request fails the test at its end."""
    complaints: list[str] = []
    pages = []

    def complain(text: str, really: bool = True) -> None:
        complaints.extend([text] * really)

    def show(path: Path, width: int = 1400, **options: Any) -> Any:
        page = browser.new_page(viewport={"width": width, "height": 900}, **options)
        page.on("console", lambda message: complain(message.text, message.type == "error"))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complain(f"dialog {dialog.message}"))
        page.on("request", lambda request: complain(request.url, not request.url.startswith(("data:", "blob:"))))
        page.goto(path.as_uri())
        complaints.remove(path.as_uri())
        pages.append(page)
        return page

    yield show
    for page in pages:
        page.close()
    assert complaints == []


def job(sweep: Path, axes: dict[str, Any], loss: float, epochs: int = 4, **metrics: Any) -> Path:
    metrics = {"val/loss": loss, "probe/val_acc": 0.9 - loss / 1000, "test/loss": 777.0, **metrics}
    folder = fake_job(sweep, axes, **metrics)
    rows = [f"{epoch},{epoch},{loss + 100 / (1 + epoch)},{0.5 + epoch / 100}" for epoch in range(epochs)]
    (folder / "metrics.csv").write_text("\n".join(["epoch,step,val/loss,probe/val_acc", *rows]) + "\n")
    return folder


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve configurations with two seeds each, one of which has failed, and one with pictures."""
    folder = tmp_path_factory.mktemp("report") / "a sweep"
    for place, (latent_dim, lr, seed) in enumerate(product([2, 5, 10, 20], [1e-3, 3e-3, 1e-2], [1, 2])):
        loss = 100 + (latent_dim - 8) ** 2 / 10 + abs(np.log10(lr / 3e-3)) * 20 + seed
        made = job(folder, {"latent_dim": latent_dim, "lr": lr, "seed": seed}, float(loss))
        (made / ".hydra").mkdir()
        config = "data:\n  _target_: a.MNISTDataModule\n  val_size: 500\nmodel: {}\ncallbacks: {}\n"
        (made / ".hydra/config.yaml").write_text(config)
        (made / "environment.json").write_text(json.dumps({"command": f"train.py <i>{place % 2}</i>", "versions": 1}))
    (failed := folder / "latent_dim=20,lr=0.01,seed=2").joinpath("metrics.json").unlink()
    (failed / "failure.json").write_text('{"error": "RuntimeError: out of <memory>"}')
    best = folder / "latent_dim=10,lr=0.003,seed=1/figures"
    best.mkdir()
    noise = np.random.default_rng(0).integers(120, 136, size=(800, 1200, 3), dtype=np.uint8)
    Image.fromarray(noise).save(best / "samples.png")
    found = read_sweep(folder)
    write_page(folder / "report.html", folder, "a sweep", found, None, "24 jobs")
    return folder


def cells(page: Any, column: str) -> list[str]:
    place = page.locator("#table th button").all_inner_texts().index(column)
    texts: list[str] = page.locator(f"#table tbody tr td:nth-child({place + 1})").all_inner_texts()
    return texts


def data_of(path: Path) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="content">(.*?)</script>', path.read_text(), re.DOTALL)
    assert found is not None
    parsed: dict[str, Any] = json.loads(found[1])
    return parsed


# On every screen.


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1400, 390])
def test_a_screen_shows_everything_without_an_error_or_a_request(
    width: int, scheme: str, sweep: Path, opened: Open
) -> None:
    page = opened(sweep / "report.html", width, color_scheme=scheme)
    for section in ("curves", "heat-map", "slices", "scatter", "parallel"):
        page.locator(f"#{section}").scroll_into_view_if_needed()
        page.locator(f"#{section} .main-svg").first.wait_for()
        assert page.locator(f"#{section} .plot-container").first.bounding_box()["width"] <= width
    assert page.get_by_text("WebGL is not supported").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") == width  # the table scrolls within itself
    light = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert light == (scheme == "light")
    assert page.locator("#facts dd", has_text="MNIST, val_size 500").count() == 1
    assert page.locator("#facts code").inner_text() in ("train.py <i>0</i>; train.py <i>1</i>", "")  # closed if narrow


def test_colours_follow_the_screen_and_paper(sweep: Path, opened: Open) -> None:
    page = opened(sweep / "report.html", color_scheme="light")
    title = page.locator("#curves .xtitle")
    colour = "element => getComputedStyle(element).fill"
    before = title.evaluate(colour)
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"({colour})(document.querySelector('#curves .xtitle')) !== '{before}'")
    page.emulate_media(media="print")
    page.wait_for_function(f"({colour})(document.querySelector('#curves .xtitle')) === 'rgb(0, 0, 0)'")
    page.locator("#scatter .main-svg").first.wait_for()  # although nobody has scrolled there
    assert page.locator("#curves .main-svg").first.get_attribute("width") == "680"
    assert not page.locator("#filter").is_visible()
    widths = page.locator(".chart").evaluate_all(
        "charts => charts.map((chart) => chart.scrollWidth <= chart.clientWidth)"
    )
    assert all(widths)
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


# The table.


def test_the_table_ranks_sorts_and_filters(sweep: Path, opened: Open) -> None:
    page = opened(sweep / "report.html")
    ranked = read_sweep(sweep).ranked
    expected = [measured("val/loss", *pair) for pair in zip(ranked["val/loss"], ranked["val/loss std"], strict=True)]
    assert cells(page, "val/loss") == expected
    assert cells(page, "latent_dim") == [str(value) for value in ranked["latent_dim"]]
    assert page.locator("tr.best td").first.inner_text() == "1"
    assert page.locator("tr.best").count() == 1
    assert cells(page, "status").count("1 of 2 complete") == 1

    header = page.locator("#table th", has_text="lr")
    header.get_by_role("button").focus()
    page.keyboard.press("Enter")
    assert header.get_attribute("aria-sort") == "ascending"
    assert cells(page, "lr") == ["0.001"] * 4 + ["0.003"] * 4 + ["0.01"] * 4  # as numbers
    page.keyboard.press("Enter")
    assert header.get_attribute("aria-sort") == "descending"
    assert cells(page, "lr") == ["0.01"] * 4 + ["0.003"] * 4 + ["0.001"] * 4

    for text, count in {"latent_dim>5": 6, "latent_dim>=5 lr<0.01": 6, "lr!=0.001": 8, "of 2": 1, "": 12}.items():
        page.fill("#filter", text)
        page.wait_for_function(f"document.querySelectorAll('#table tbody tr').length === {count}")
    page.fill("#filter", "depth=3")
    page.get_by_text("There is no column depth.").wait_for()

    page.fill("#filter", "out of <memory>")
    page.select_option("#view", "jobs")
    page.wait_for_function("document.querySelectorAll('#table tbody tr').length === 1")
    assert cells(page, "why") == ["RuntimeError: out of <memory>"]
    assert "test/loss" not in page.locator("#columns").inner_text()


def test_the_links_lead_to_the_jobs_wherever_the_page_lies(sweep: Path, opened: Open, tmp_path: Path) -> None:
    shutil.copytree(sweep, tmp_path / "moved?/a sweep")
    inside = tmp_path / "moved?/a sweep/report.html"
    elsewhere = tmp_path / "moved?/pages/all.html"
    write_page(elsewhere, inside.parent, "moved", read_sweep(inside.parent), None)
    for path in (inside, elsewhere):
        page = opened(path)
        link = page.locator("#table a").first
        assert link.get_attribute("title") == "latent_dim=10,lr=0.003,seed=1"
        assert "%3D" in link.get_attribute("href")
        assert not link.get_attribute("href").startswith("/")
        target = Path(page.evaluate("link => decodeURIComponent(new URL(link.href).pathname)", link.element_handle()))
        assert target == tmp_path / "moved?/a sweep/latent_dim=10,lr=0.003,seed=1"


# The charts.


def test_a_hover_tells_configuration_epoch_and_value_and_a_click_highlights(sweep: Path, opened: Open) -> None:
    page = opened(sweep / "report.html")
    lines = page.locator("#curves .scatterlayer .js-line")
    page.locator("#curves .main-svg").first.wait_for()
    point = page.locator("#curves .scatterlayer .point").nth(2)  # of the best configuration, after epoch 3
    point.scroll_into_view_if_needed()
    box = point.bounding_box()
    page.mouse.move(box["x"] - 20, box["y"])
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=4)
    tip = page.locator("#curves .hoverlayer .hovertext")
    tip.wait_for()
    assert re.search(r"latent_dim=\d+, lr=[\d.]+epoch \d: val/loss \d+\.\d\d ± 0\.71", tip.text_content())
    widths = "lines => lines.map(line => line.style.strokeWidth)"
    assert "5px" not in lines.evaluate_all(widths)
    row = page.locator("#table tbody tr").nth(11)  # the last one, which is not among the ten best
    row.get_by_role("button").click()
    assert page.locator("tr.selected td").first.inner_text() == "12"
    assert "5px" in lines.evaluate_all(widths)


def test_a_heat_map_has_means_and_deviations_and_outlines_the_best(sweep: Path, opened: Open) -> None:
    page = opened(sweep / "report.html")
    page.locator("#heat-map").scroll_into_view_if_needed()
    page.locator("#heat-map .annotation-text").first.wait_for()
    texts = page.locator("#heat-map .annotation-text").all_text_contents()
    best = read_sweep(sweep).ranked.iloc[0]
    assert len(texts) == 12
    assert measured("val/loss", best["val/loss"], best["val/loss std"]).replace(" ±", "±") in texts
    cell = page.evaluate("document.querySelector('#heat-map .js-plotly-plot').layout.shapes[0]")
    assert (cell["y0"] + 0.5, cell["x0"] + 0.5) == (2, 1)  # latent_dim=10, lr=0.003


def test_the_best_models_pictures_are_small_and_enlarge(sweep: Path, opened: Open) -> None:
    page = opened(sweep / "report.html")
    page.locator(".gallery button").click()
    assert page.locator("#enlarged img").is_visible()
    page.keyboard.press("Escape")
    assert not page.locator("#enlarged img").is_visible()
    figures = sweep / "latent_dim=10,lr=0.003,seed=1/figures"
    (picture,) = embedded_pictures(figures.parent)
    assert len(picture["src"]) < min(ROOM, (figures / "samples.png").stat().st_size)
    assert embedded_pictures(figures.parent, room=1000) == []


# Names.


def test_names_and_values_are_texts_everywhere(opened: Open, tmp_path: Path) -> None:
    for place, (name, size) in enumerate(product(HOSTILE, [1, 2])):
        job(tmp_path, {"<b>kind</b>": name, "size": size}, 100.0 + place)
    write_page(tmp_path / "report.html", tmp_path, HOSTILE[1], read_sweep(tmp_path), None, HOSTILE[0])
    page = opened(tmp_path / "report.html")
    assert page.title() == page.locator("h1").inner_text() == HOSTILE[1]
    assert page.locator("#note").inner_text() == HOSTILE[0]
    assert cells(page, "<b>kind</b>") == [name for name in HOSTILE for _ in range(2)]
    for section in ("curves", "heat-map", "slices", "scatter", "parallel"):
        page.locator(f"#{section}").scroll_into_view_if_needed()
        page.locator(f"#{section} .main-svg").first.wait_for()
        assert page.locator(f"#{section} img, #{section} b").count() == 0
    assert {*HOSTILE} == {*page.locator("#heat-map .ytick text").all_text_contents()}
    assert page.locator("#parallel .axis-title").first.text_content() == "<b>kind</b>"
    assert set(HOSTILE) <= {*page.locator("#parallel .tick text").all_text_contents()}
    assert page.locator("#curves .key li").first.inner_text() == f"<b>kind</b>={HOSTILE[0]}, size=1"


# Groups.


def test_configurations_are_ranked_within_their_group(opened: Open, tmp_path: Path) -> None:
    for latent_dim, data in product((2, 5), ("mnist", "fashion")):
        loss = latent_dim + (100.0 if data == "mnist" else 200.0)
        job(tmp_path, {"latent_dim": latent_dim, "data": data}, loss)
    found = read_sweep(tmp_path)
    grouped = found.jobs.rename(columns={"data": "group"})
    mixed = SweepResults(grouped, rank(grouped, ["latent_dim"], "val/loss"), ["latent_dim"], "val/loss")
    write_page(tmp_path / "report.html", tmp_path, "runs", mixed, None)
    page = opened(tmp_path / "report.html")
    assert page.locator("#grouping").is_visible()
    for group, losses in {"mnist": ["102.00", "105.00"], "fashion": ["202.00", "205.00"]}.items():
        page.select_option("#group", group)
        assert cells(page, "val/loss") == losses
        assert page.locator("tr.best td").first.inner_text() == "1"
        assert page.locator("#best").inner_text() == f"Best: latent_dim=2, val/loss {losses[0]}."
    page.select_option("#view", "jobs")
    assert len(cells(page, "val/loss")) == 2


# Searches.


def search_of(sweep: Path, objectives: dict[str, bool], values: list[list[float]]) -> Search:
    trials = []
    for number, each in enumerate(values):
        made = job(sweep, {"lr": 10.0 ** -(number + 1)}, each[0])
        params = {"optimizer.lr": 10.0 ** -(number + 1)}
        trials.append(Trial(number, "complete", each, [np.nan] * len(each), params, {}, 4, 4, 1.0, [made.name]))
    unknown = [np.nan] * len(objectives)
    pruned = Trial(len(values), "pruned", unknown, unknown, {"optimizer.lr": 0.5}, {1: 120.0}, 1, 4, 1.0, [])
    return Search([*objectives], [*objectives.values()], [*trials, pruned], {"optimizer.lr": "log"})


def test_a_search_shows_its_trials_over_time(opened: Open, tmp_path: Path) -> None:
    search = search_of(tmp_path, {"val/loss": False}, [[110.0], [104.0], [107.0], [101.0]])
    write_page(tmp_path / "report.html", tmp_path, "s", read_sweep(tmp_path), search)
    page = opened(tmp_path / "report.html")
    assert cells(page, "trial") == ["3", "1", "2", "0", "4"]
    assert cells(page, "status")[-1] == "pruned"
    page.locator("#history").scroll_into_view_if_needed()
    page.locator("#history .main-svg").first.wait_for()
    crosses, best, trials = page.evaluate("document.querySelector('#history .js-plotly-plot').data.map(each => each.y)")
    assert (best, trials) == ([110, 104, 104, 101], [110, 104, 107, 101])
    assert len(crosses) == 1
    page.locator("#slices").scroll_into_view_if_needed()
    page.locator("#slices .main-svg").first.wait_for()
    assert page.evaluate("document.querySelector('#slices .js-plotly-plot').layout.xaxis.type") == "log"


def test_several_objectives_mark_their_front(opened: Open, tmp_path: Path) -> None:
    pairs = [[100.0, 0.5], [110.0, 0.9], [120.0, 0.8], [105.0, 0.6]]
    search = search_of(tmp_path, {"val/loss": False, "probe/val_acc": True}, pairs)
    write_page(tmp_path / "report.html", tmp_path, "s", read_sweep(tmp_path), search)
    page = opened(tmp_path / "report.html")
    assert page.locator("tr.best td:nth-child(2)").all_inner_texts() == ["0", "3", "1"]
    assert "777" not in page.locator("header").inner_text()
    page.locator("#scatter").scroll_into_view_if_needed()
    page.locator("#scatter .main-svg").first.wait_for()
    line = page.evaluate("document.querySelector('#scatter .js-plotly-plot').data[1]")
    assert (line["x"], line["y"]) == ([100, 105, 110], [0.5, 0.6, 0.9])


# Without a browser.


def test_long_curves_of_many_jobs_are_thinned_and_the_best_jobs_keep_theirs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for place in range(30):
        job(tmp_path, {"lr": place}, 200.0 - place, epochs=100)
    monkeypatch.setattr(content, "NUMBERS", 600)
    write_page(tmp_path / "report.html", tmp_path, "s", read_sweep(tmp_path), None)
    curves = data_of(tmp_path / "report.html")["curves"]
    drawn = [each for each in curves if each is not None]
    assert 0 < sum(len(values) for each in drawn for values in each.values()) <= 600
    assert all(each["epoch"][0] == 1 and each["epoch"][-1] == 100 for each in drawn)
    jobs = [each["job"] for each in data_of(tmp_path / "report.html")["jobs"]]
    kept = {job for job, each in zip(jobs, curves, strict=True) if each is not None}
    assert kept == {f"lr={place}" for place in range(30 - len(drawn), 30)}


@pytest.mark.parametrize(
    "values", [{"widths": [128, 64]}, {"a": None}, {"a": float("nan")}, {"a": float("inf")}, {"a": True}, {}], ids=str
)
def test_any_values_and_metrics_are_json(values: dict[str, Any], tmp_path: Path) -> None:
    odd: dict[str, Any] = {"train/loss": float("inf"), "val/kl": float("nan")}
    job(tmp_path, values, 100.0, **odd)
    write_page(tmp_path / "report.html", tmp_path, "s", read_sweep(tmp_path), None)
    (only,) = data_of(tmp_path / "report.html")["jobs"]
    assert (only["status"], only["metrics"].count(None)) == ("complete", 2)


def test_a_page_without_a_job_is_written(tmp_path: Path) -> None:
    empty = SweepResults(pd.DataFrame({"job": [], "status": [], "why": []}), pd.DataFrame(), [], None)
    write_page(tmp_path / "report.html", tmp_path, "s", empty, None)
    assert data_of(tmp_path / "report.html")["jobs"] == []
