"""The time of a frame in vae-explore: on the server, and in Chromium from a pointer event to the changed image.

python benchmarks/explorer.py outputs/runs/first

Needs the extra ``explore`` and, for Chromium, the package ``playwright``.
"""

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from playwright.sync_api import sync_playwright

from vae_lightning.explorer.data_url import data_url
from vae_lightning.explorer.explored_run import ExploredRun

FRAMES = 200

# Measures each drag: from the browser's pointer event to the image's new source, in milliseconds.
WATCH = """() => {
    window.moved = null; window.delays = [];
    document.addEventListener("pointermove", event => { window.moved ??= event.timeStamp; }, true);
    new MutationObserver(() => {
        if (window.moved !== null) { window.delays.push(performance.now() - window.moved); window.moved = null; }
    }).observe(document.querySelector("img[alt='decoded image']"), { attributes: true, attributeFilter: ["src"] });
}"""


def on_the_server(run: ExploredRun) -> dict[str, list[float]]:
    """Milliseconds of the parts of frames: a dragged point, and a drawing that is encoded and decoded again."""
    latent_map, image = run.map("principal"), run.images[0]
    frames = {
        "drag": lambda k: data_url(
            run.decode(run.onto_support(latent_map.latent(latent_map.points[k], run.mean[0]))[None])[0]
        ),
        "draw": lambda k: data_url(run.see(image).reconstruction),
    }
    found: dict[str, list[float]] = {name: [] for name in frames}
    for name, frame in frames.items():
        for k in range(FRAMES):
            begin = time.perf_counter()
            frame(k % len(run.mean))
            found[name].append(1e3 * (time.perf_counter() - begin))
    return found


def in_chromium(url: str) -> list[float]:
    """Milliseconds from pointer events of a drag over the map to the changed image."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = chromium.new_page(viewport={"width": 1400, "height": 1000})
        page.goto(url)
        page.wait_for_selector(".map .point")
        page.wait_for_timeout(3000)  # the probe is being fitted
        box: Any = page.locator(".map").bounding_box()
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.mouse.down()
        page.wait_for_timeout(300)
        page.evaluate(WATCH)
        for k in range(FRAMES):
            angle = torch.tensor(k / 10)
            x, y = 0.5 + 0.3 * torch.cos(angle).item(), 0.5 + 0.3 * torch.sin(angle).item()
            page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
            page.wait_for_timeout(20)
        delays: list[float] = page.evaluate("window.delays")
        chromium.close()
    return delays


def show(name: str, milliseconds: list[float]) -> None:
    values = torch.tensor(milliseconds, dtype=torch.float64)
    median, high = values.quantile(torch.tensor([0.5, 0.95], dtype=torch.float64)).tolist()
    print(f"{name:42} {len(values):5d} frames   median {median:6.2f} ms   95% {high:6.2f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run directory")
    folder = parser.parse_args().run
    run = ExploredRun.load(folder, "last", {}, "test", 2000)
    for name, values in on_the_server(run).items():
        show(f"server, {name}", values)
    command = [sys.executable, "-m", "vae_lightning.commands.explore", str(folder), "browser=false"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url = server.stdout.readline().partition(" ")[0]
        show("Chromium, pointer event to image", in_chromium(url))
        server.terminate()


if __name__ == "__main__":
    main()
