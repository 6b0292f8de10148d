"""The page, as a real process serves it, and in a real browser, with real pointer events."""

import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import SMALL
from warm_process import run_command

Open = Callable[..., Any]
in_browser = pytest.mark.slow


class Page:
    """A page that is being served.

    Attributes:
        url: its address.
        process: the server.
    """

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        self.process, self.line = process, process.stdout.readline()
        self.url = self.line.partition(" ")[0]

    def interrupt(self) -> str:
        """End the server as Ctrl-C does, and return what it has written to stderr."""
        self.process.send_signal(signal.SIGINT)
        return self.process.communicate(timeout=30)[1]


@contextmanager
def served(folder: Path, *arguments: str) -> Iterator[Page]:
    """Serve a page within the block."""
    command = [sys.executable, "-m", "vae_lightning.commands.explore", *arguments, "browser=false", "images=300"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield Page(process)
        finally:
            process.kill()


@pytest.fixture(scope="module")
def explored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two runs: ``first``, and ``second``, whose model sees classes."""
    pytest.importorskip("nicegui")
    folder = tmp_path_factory.mktemp("explored")
    for name, more in (("first", ["model.latent_dim=12"]), ("second", ["model=conditional", "model.latent_dim=2"])):
        options = [*SMALL, "callbacks.figures=null", f"hydra.run.dir={name}", *more]
        run_command("train", *options, cwd=folder).check_returncode()
    return folder


def test_a_page_is_served_to_this_machine_until_ctrl_c(explored: Path) -> None:
    before = sorted(explored.rglob("*"))
    with served(explored, "first") as page:
        assert page.line == f"{page.url}   (Ctrl-C ends it)\n"
        assert page.url.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(page.url, timeout=20) as answer:
            assert b"Interpolate" in answer.read()
        # Another site's name that was made to point here.
        foreign = urllib.request.Request(page.url, headers={"Host": "elsewhere.example"})
        with pytest.raises(urllib.error.HTTPError, match="400"):
            urllib.request.urlopen(foreign, timeout=20)
        port = int(page.url.rpartition(":")[2])
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.2", port), timeout=5).close()
        command = [sys.executable, "-m", "vae_lightning.commands.explore", "first", f"port={port}"]
        taken = subprocess.run(command, cwd=explored, capture_output=True, text=True, timeout=120)
        assert taken.returncode == 2
        assert taken.stderr == f"error: port={port}: must be a free one, and 0 chooses one (Address already in use)\n"
        assert page.interrupt() == "Interrupt: the page is closed\n"
        assert page.process.returncode == 130
    assert sorted(explored.rglob("*")) == before


@pytest.fixture(scope="module")
def urls(explored: Path) -> Iterator[dict[str, str]]:
    """The addresses of a page of one run, and of one with two."""
    with served(explored, "first") as one, served(explored, "first", "other=second") as two:
        yield {"one": one.url, "two": two.url}


@pytest.fixture
def tab(browser: Any, urls: dict[str, str]) -> Iterator[Open]:
    """``tab("one", width=1400, scheme="light")``, a tab that may neither log an error nor ask any other machine."""
    wrong: list[str] = []
    opened = []

    def begin(name: str = "one", width: int = 1400, scheme: str = "light") -> Any:
        page = browser.new_page(viewport={"width": width, "height": 1000}, color_scheme=scheme)
        opened.append(page)
        page.set_default_timeout(10_000)
        url = urls[name]
        own = (url, url.replace("http", "ws"), "data:")
        page.on("request", lambda request: None if request.url.startswith(own) else wrong.append(request.url))
        page.on("websocket", lambda socket: None if socket.url.startswith(own) else wrong.append(socket.url))
        page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.goto(url)
        page.wait_for_selector(".map .point")
        page.wait_for_selector("img[alt='decoded image'][src]")
        page.wait_for_selector("img[alt^='nine images'][src]")
        page.wait_for_selector("img[alt^='64 samples'][src]")
        return page

    yield begin
    for page in opened:
        page.close()
    assert wrong == []


def source(page: Any, alt: str) -> str:
    found: str = page.locator(f"img[alt^='{alt}']").first.get_attribute("src")
    return found


def changes(page: Any, alt: str, before: str) -> str:
    """Wait until an image is another, and return it."""
    page.wait_for_function(
        "([alt, before]) => { const src = document.querySelector(`img[alt^='${alt}']`).getAttribute('src');"
        " return src && src !== before; }",
        arg=[alt, before],
    )
    return source(page, alt)


def dots(page: Any) -> list[tuple[float, float]]:
    """The places of the images on the first map, in the window's pixels."""
    page.locator(".map").first.scroll_into_view_if_needed()
    places = page.evaluate(
        """() => {
            const map = document.querySelector(".map"), box = map.getBoundingClientRect();
            const paths = [...map.querySelectorAll("path.point")].map(path => path.getAttribute("d"));
            return paths.join("").split("M").slice(1).map(dot => dot.split("h")[0].split(" "))
                .map(([x, y]) => [box.x + x / 600 * box.width, box.y + y / 600 * box.height]);
        }"""
    )
    return [(float(x), float(y)) for x, y in places]


def draw(page: Any, *points: tuple[float, float]) -> None:
    """Draw a line through points in shares of the canvas."""
    canvas = page.locator(".canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    scrolled = page.evaluate("scrollY")
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
    page.mouse.move(*places[0])
    page.mouse.down()
    for place in places[1:]:
        page.mouse.move(*place, steps=5)
    page.mouse.up()
    page.locator(".posterior").first.wait_for()
    assert page.evaluate("scrollY") == scrolled  # the canvas stays under the pointer


@in_browser
def test_pointing_shows_an_image_and_dragging_decodes_another(tab: Open) -> None:
    page = tab()
    x, y = dots(page)[40]
    page.mouse.move(x, y)
    page.wait_for_selector(".hovered img[src]", state="visible")
    assert "image" in page.locator(".hovered").inner_text()
    original, decoded = source(page, "selected image"), source(page, "decoded image")
    page.mouse.down()
    original, decoded = changes(page, "selected image", original), changes(page, "decoded image", decoded)
    marker = page.locator(".map .marker").first.get_attribute("cx")
    page.mouse.move(x + 60, y + 40, steps=4)
    moved = changes(page, "decoded image", decoded)
    page.mouse.move(x + 120, y + 80, steps=4)
    changes(page, "decoded image", moved)
    page.wait_for_function(f"document.querySelector('.map .marker').getAttribute('cx') !== '{marker}'")
    assert source(page, "selected image") == original
    page.mouse.up()
    page.wait_for_timeout(200)
    still = source(page, "decoded image")
    page.mouse.move(x - 50, y - 50, steps=4)
    page.wait_for_timeout(300)
    assert source(page, "decoded image") == still  # no longer dragged


@in_browser
def test_sliders_move_one_latent_and_follow_the_image(tab: Open) -> None:
    page = tab()
    sliders, values = page.locator(".sliders .q-slider"), page.locator(".slider:not(.scale) .value")
    assert sliders.count() == 10
    before, shown = source(page, "decoded image"), values.all_inner_texts()
    box = sliders.first.bounding_box()
    page.mouse.move(box["x"] + 0.2 * box["width"], box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + box["height"] / 2, steps=5)
    page.mouse.up()
    moved = changes(page, "decoded image", before)
    page.wait_for_function("document.querySelector('.slider:not(.scale) .value').innerText > '2'")
    assert values.all_inner_texts()[1:] == shown[1:]
    page.keyboard.press("Tab")
    page.get_by_role("button", name="back to the image's mean").press("Enter")
    changes(page, "decoded image", moved)
    page.wait_for_function(f"document.querySelector('.slider:not(.scale) .value').innerText === '{shown[0]}'")
    page.get_by_text("show 2 more").click()
    page.wait_for_function("document.querySelectorAll('.sliders .q-slider').length === 12")
    page.get_by_role("slider", name="latent variable").first.locator("[tabindex]").press("ArrowLeft")
    page.wait_for_function(f"document.querySelector('.slider:not(.scale) .value').innerText !== '{shown[0]}'")


@in_browser
def test_a_drawing_has_a_posterior_a_reconstruction_and_the_probes_word(tab: Open) -> None:
    page = tab()
    page.get_by_text("Linear probe, fitted to").wait_for()
    assert page.locator(".posterior").count() == 0
    draw(page, (0.5, 0.15), (0.5, 0.85))
    page.wait_for_selector(".posterior .mean")
    page.wait_for_selector(".probability")
    assert page.locator(".posterior .mean").count() == 12
    reconstruction = source(page, "reconstruction")
    posterior, probe = (page.locator(".bars").nth(k).inner_html() for k in (0, 1))
    draw(page, (0.2, 0.2), (0.8, 0.2), (0.8, 0.8), (0.2, 0.8), (0.2, 0.2))
    changes(page, "reconstruction", reconstruction)
    assert page.locator(".bars").nth(0).inner_html() != posterior
    assert page.locator(".bars").nth(1).inner_html() != probe
    assert "Centre of mass" in page.locator("section", has_text="Centre by mass").inner_text()
    page.get_by_role("button", name="Clear").click()
    page.locator(".posterior").wait_for(state="hidden")


@in_browser
def test_images_between_two_that_were_clicked(tab: Open) -> None:
    page = tab()
    strip, end, selected = (source(page, what) for what in ("nine images", "end A", "selected image"))
    page.mouse.click(*dots(page)[200])
    chosen = changes(page, "selected image", selected)
    page.get_by_role("button", name="set end A to the selected image").click()
    changes(page, "end A", end)
    strip = changes(page, "nine images", strip)
    assert source(page, "end A") == chosen == source(page, "selected image")
    middle = source(page, "image at the slider")
    page.get_by_role("slider", name="place between the ends").locator("[tabindex]").press("ArrowRight")
    changes(page, "image at the slider", middle)
    assert source(page, "nine images") == strip


@in_browser
def test_samples_again(tab: Open) -> None:
    page = tab()
    before = source(page, "64 samples")
    page.get_by_role("button", name="Again").click()
    changes(page, "64 samples", before)


@in_browser
def test_tabs_do_not_disturb_each_other(tab: Open) -> None:
    first, second = tab(), tab()
    assert source(first, "decoded image") == source(second, "decoded image")
    before = source(first, "decoded image")
    second.get_by_role("button", name="next image").click()
    changes(second, "decoded image", before)
    draw(second, (0.3, 0.3), (0.6, 0.6))
    second.wait_for_selector(".posterior .mean")
    assert source(first, "decoded image") == before
    assert first.locator(".posterior").count() == 0


@in_browser
def test_two_runs_side_by_side_show_the_same_image(tab: Open) -> None:
    page = tab("two")
    assert page.locator("h1").all_inner_texts() == ["first", "second"]
    assert page.locator(".map").count() == 2
    boxes = [page.locator(".map").nth(k).bounding_box() for k in (0, 1)]
    assert boxes[0]["y"] == boxes[1]["y"]
    decoded = page.locator("img[alt='decoded image']")
    page.wait_for_function("[...document.querySelectorAll(\"img[alt='decoded image']\")].every(image => image.src)")
    before = [decoded.nth(k).get_attribute("src") for k in (0, 1)]
    page.mouse.click(*dots(page)[123])
    page.wait_for_function(
        "before => [...document.querySelectorAll(\"img[alt='decoded image']\")]"
        ".every((image, k) => image.src !== before[k])",
        arg=before,
    )
    originals = page.locator("img[alt='selected image']")
    assert originals.nth(0).get_attribute("src") == originals.nth(1).get_attribute("src")
    # The second model sees classes.
    assert page.get_by_role("combobox", name="class").count() == 2
    seen = decoded.nth(1).get_attribute("src")
    page.get_by_role("combobox", name="class").last.click()  # the first one is that of the samples
    options = page.get_by_role("option")
    options.first.wait_for()
    options.filter(has_not=page.locator("[aria-selected=true]")).nth(4).click()
    page.wait_for_function("seen => document.querySelectorAll(\"img[alt='decoded image']\")[1].src !== seen", arg=seen)


@in_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["one", "two"])
def test_a_phone_and_the_preferred_colours(tab: Open, name: str, scheme: str) -> None:
    page = tab(name, width=390, scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, ground.strip("rgb()").split(","))) < 382) == (scheme == "dark")
    draw(page, (0.4, 0.2), (0.6, 0.8))
    page.wait_for_selector(".posterior .mean")
