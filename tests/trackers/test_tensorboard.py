"""What TensorBoard shows of runs, asked of a real server."""

import csv
import html
import io
import json
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import SMALL, kill_after
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor
from warm_process import run_command

from vae_lightning import VAE
from vae_lightning.data.images import LabelledImages
from vae_lightning.streams import generator

EPOCHS, STEPS = 3, 16  # of an epoch
OPTIONS = [*SMALL, "model.latent_dim=2", "callbacks.probe.every_n_epochs=1", f"trainer.max_epochs={EPOCHS}"]
SWEEP = [*SMALL, "trainer.max_epochs=2", "model.latent_dim=2,5", "seed=1,2", "sweep.name=s"]
RUN = "runs/one"
PICTURES = ["visuals/manifold", "visuals/reconstructions", "visuals/samples"]  # of two dimensions


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two latent dimensions that was killed and gone on with, and a stacked sweep of four jobs."""
    folder = tmp_path_factory.mktemp("tensorboard")
    kill_after(2, folder, *OPTIONS, "hydra.run.dir=outputs/runs/one")
    for arguments in (["resume=outputs/runs/one"], ["-m", *SWEEP, "hydra/launcher=stacked"]):
        done = run_command("train", *arguments, cwd=folder)
        assert done.returncode == 0, done.stderr
    return folder / "outputs"


class Server:
    """What a TensorBoard server answers."""

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, route: str, **query: Any) -> bytes:
        with urllib.request.urlopen(f"{self.url}/data/{route}?{urlencode(query)}", timeout=10) as answer:
            content: bytes = answer.read()
            return content

    def ask(self, route: str, **query: Any) -> Any:
        return json.loads(self.get(route, **query))

    def session_groups(self) -> list[dict[str, Any]]:
        """The rows of the HParams tab."""
        statuses = [f"STATUS_{status}" for status in ("UNKNOWN", "SUCCESS", "FAILURE", "RUNNING")]
        question = {"experimentName": "", "allowedStatuses": statuses, "colParams": [], "startIndex": 0}
        request = urllib.request.Request(
            f"{self.url}/data/plugin/hparams/session_groups",
            data=json.dumps(question | {"sliceSize": 100}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            groups: list[dict[str, Any]] = json.load(answer)["sessionGroups"]
            return groups


@pytest.fixture(scope="module")
def server(outputs: Path) -> Iterator[Server]:
    """TensorBoard over all of it, once it has read everything."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(outputs), "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            server = Server(f"http://127.0.0.1:{port}")
            for _ in range(240):
                try:
                    if len(server.session_groups()) == 5 and RUN in server.ask("plugin/text/tags"):
                        break
                except (OSError, KeyError):
                    pass
                time.sleep(0.5)
            yield server
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def vae(outputs: Path) -> VAE:
    return VAE.load_from_checkpoint(outputs / "runs/one/checkpoints/last.ckpt").eval()


def curves(run: Path) -> dict[str, dict[int, float]]:
    """A run's curves by name, from metrics.csv: the values by their steps."""
    table = pd.read_csv(run / "metrics.csv")
    names = [name for name in table if name not in ("epoch", "step")]
    points = {name: table[["step", name]].dropna() for name in names}
    return {name: dict(zip(rows["step"], rows[name], strict=True)) for name, rows in points.items()}


def test_every_curve_is_there_at_its_steps_once(server: Server, outputs: Path) -> None:
    tags = server.ask("plugin/scalars/tags")
    jobs = [path.parent for path in outputs.rglob("metrics.json")]
    means = {f"sweeps/s/seed_means/latent_dim={latent_dim}" for latent_dim in (2, 5)}
    assert set(tags) == {str(job.relative_to(outputs)) for job in jobs} | means
    for job in jobs:
        run, expected = str(job.relative_to(outputs)), curves(job)
        assert set(tags[run]) == {*expected, "speed/images_per_second"}
        for tag, points in expected.items():
            found = [(step, value) for _, step, value in server.ask("plugin/scalars/scalars", run=run, tag=tag)]
            assert [step for step, _ in found] == list(points), (run, tag)
            assert dict(found) == pytest.approx(points, rel=1e-6), (run, tag)
        speed = server.ask("plugin/scalars/scalars", run=run, tag="speed/images_per_second")
        assert [step for _, step, _ in speed] == list(expected["train/loss"])
        assert all(value > 0 for *_, value in speed)


def test_what_is_to_be_there_is_there(outputs: Path) -> None:
    found, ends = curves(outputs / "runs/one"), [STEPS * epoch for epoch in range(1, EPOCHS + 1)]
    for name in ("loss", "recon", "kl", "active_units"):
        assert list(found[f"val/{name}"]) == ends
        assert list(found[f"test/{name}"]) == ends[-1:]
    for name in ("loss", "recon", "kl", "gradient_norm", "lr"):
        assert list(found[f"train/{name}"]) == ends
    assert list(found["probe/val_acc"]) == ends


def test_a_killed_run_has_neither_gaps_nor_doubles(outputs: Path) -> None:
    """By TensorBoard's other reader too, which is used where its fast one is not."""
    size = dict.fromkeys(("scalars", "images", "histograms", "tensors"), 0)
    events = EventAccumulator(str(outputs / RUN), size).Reload()
    ends = [STEPS * epoch for epoch in range(1, EPOCHS + 1)]
    expected = curves(outputs / "runs/one") | {"speed/images_per_second": dict.fromkeys(ends, 0.0)}
    for tag, points in expected.items():
        again = ends[-1:] if tag in ("probe/train_acc", "probe/val_acc") else []  # with the test
        assert [event.step for event in events.Scalars(tag)] == [*points, *again], tag
    for tag in PICTURES:
        assert [event.step for event in events.Images(tag)] == ends, tag
    assert [event.step for event in events.Tensors("config/text_summary")] == [0]


def test_the_kl_of_each_dimension_is_a_histogram(server: Server, outputs: Path) -> None:
    events = EventAccumulator(str(outputs / RUN), {"histograms": 0}).Reload()
    totals = {event.step: event.histogram_value.sum for event in events.Histograms("visuals/kl_by_dimension")}
    assert totals == pytest.approx(curves(outputs / "runs/one")["val/kl"], rel=1e-5)
    for run, tags in server.ask("plugin/histograms/tags").items():
        assert list(tags) == ["visuals/kl_by_dimension"]
        dimensions = 5 if "latent_dim=5" in run else 2
        shown = server.ask("plugin/histograms/histograms", run=run, tag="visuals/kl_by_dimension")
        kl = curves(outputs / run)["val/kl"]
        assert [step for _, step, _ in shown] == list(kl)
        for _, step, bins in shown:
            assert sum(count for *_, count in bins) == pytest.approx(dimensions)
            low, high = (sum(bin[side] * bin[2] for bin in bins) for side in (0, 1))
            assert low - 1e-6 <= kl[step] <= high + 1e-6


# Pictures.


def tiles(image: Tensor) -> Tensor:
    """A grid with a line of one pixel around each picture, ``(H, W)``, as ``(rows, columns, 28, 28)``."""
    return image[1:, 1:].unfold(0, 28, 29).unfold(1, 28, 29)


def picture(server: Server, tag: str, step: int, run: str = RUN) -> Tensor:
    """As the server hands it out, in [0, 1]."""
    (entry,) = (
        entry for entry in server.ask("plugin/images/images", run=run, tag=tag, sample=0) if entry["step"] == step
    )
    with urllib.request.urlopen(f"{server.url}/data/plugin/images/individualImage?{entry['query']}") as answer:
        image = Image.open(io.BytesIO(answer.read()))
    assert image.format == "PNG"
    return torch.from_numpy(np.array(image.convert("L"))) / 255


def test_pictures_are_there_at_their_steps(server: Server) -> None:
    for run, tags in server.ask("plugin/images/tags").items():
        assert sorted(tags) == ([*PICTURES[1:], "visuals/traversals"] if "latent_dim=5" in run else PICTURES)
        epochs = EPOCHS if run == RUN else 2
        for tag in tags:
            shown = server.ask("plugin/images/images", run=run, tag=tag, sample=0)
            assert [entry["step"] for entry in shown] == [STEPS * epoch for epoch in range(1, epochs + 1)], (run, tag)


def test_pictures_show_what_they_say(server: Server, vae: VAE, digits: tuple[LabelledImages, LabelledImages]) -> None:
    last = STEPS * EPOCHS
    shown = {tag: tiles(picture(server, tag, last)) for tag in PICTURES}
    with torch.no_grad():
        images, reconstructions = shown["visuals/reconstructions"]
        known = {image.numpy().tobytes() for image in digits[0].images}
        assert all((image * 255).round().byte().numpy().tobytes() in known for image in images)
        close(reconstructions, vae.reconstruct(images[:, None])[:, 0])
        # The same noise in each epoch: where the weights are the same, the pictures are.
        noise = torch.randn(64, 2, generator=generator(vae.seed, "prior"))
        close(shown["visuals/samples"].flatten(0, 1), vae.sample(64, noise)[:, 0])
        # z_1 from left to right, z_2 upwards: the corner at the bottom left is the lowest quantile of both.
        low = torch.special.ndtri(torch.tensor(0.02)).expand(1, 2)
        close(shown["visuals/manifold"][-1, 0], vae.likelihood.mean(vae.decode(low))[0, 0])
        assert shown["visuals/manifold"].shape[:2] == (20, 20)
    job = next(run for run in server.ask("plugin/images/tags") if "latent_dim=5" in run)
    assert tiles(picture(server, "visuals/traversals", STEPS * 2, job)).shape[:2] == (5, 11)


def close(found: Tensor, expected: Tensor) -> None:
    """Equal to a step of eight bits."""
    torch.testing.assert_close(found, expected, rtol=0, atol=1.5 / 255)


def test_the_projector_has_mu_labels_and_thumbnails(
    server: Server, vae: VAE, digits: tuple[LabelledImages, LabelledImages]
) -> None:
    runs = server.ask("plugin/projector/runs")
    assert RUN in runs
    (embedding,) = server.ask("plugin/projector/info", run=RUN)["embeddings"]
    name, images, labels = embedding["tensorName"], digits[1].images / 255, digits[1].labels
    assert embedding["tensorShape"] == [1000, 2]
    tensor = np.frombuffer(server.get("plugin/projector/tensor", run=RUN, name=name), np.float32).reshape(1000, 2)
    with torch.no_grad():
        torch.testing.assert_close(torch.tensor(tensor), vae.encode(images).mu, rtol=1e-4, atol=1e-4)
    metadata = server.get("plugin/projector/metadata", run=RUN, name=name).decode()
    head, *rows = csv.reader(io.StringIO(metadata), delimiter="\t")
    assert head == ["label", "image"]
    assert [[int(cell) for cell in row] for row in rows] == [[label, n] for n, label in enumerate(labels.tolist())]
    (state,) = server.ask("plugin/projector/bookmarks", run=RUN, name=name)
    assert state["selectedColorOptionName"] == "label"
    sprite = Image.open(io.BytesIO(server.get("plugin/projector/sprite_image", run=RUN, name=name))).convert("L")
    cells = torch.from_numpy(np.array(sprite)).unfold(0, 28, 28).unfold(1, 28, 28).flatten(0, 1)
    close(cells[:1000] / 255, images[:, 0])


# Text, layout and HParams.


def test_the_configuration_is_there_as_text(server: Server, outputs: Path) -> None:
    (entry,) = server.ask("plugin/text/text", run=RUN, tag="config/text_summary")
    shown = html.unescape(re.sub("</?(table|tbody|tr|td|pre|code)>", "", entry["text"]))
    assert shown.strip() == (outputs / "runs/one/.hydra/config.yaml").read_text().strip()


def test_custom_scalars_group_curves_that_are_there(server: Server) -> None:
    tags = [tag for tags in server.ask("plugin/scalars/tags").values() for tag in tags]
    layout = server.ask("plugin/custom_scalars/layout")
    *groups, bands = sorted(layout["category"], key=lambda group: "seeds" in group["title"])
    charts = {chart["title"]: chart["multiline"]["tag"] for group in groups for chart in group["chart"]}
    for chart in bands["chart"]:
        ((series,),) = (chart["margin"]["series"],)
        assert series["value"] == chart["title"]
        assert {series["value"], series["lower"], series["upper"]} <= {*tags}
    assert {"loss = -ELBO", "KL", "probe accuracy", "learning rate", "images per second"} <= charts.keys()
    for title, patterns in charts.items():
        for pattern in patterns:
            name = pattern.strip("^$")
            assert [tag for tag in tags if re.search(pattern, tag)] == [tag for tag in tags if tag == name], title
        assert any(re.search(pattern, tag) for pattern in patterns for tag in tags), title


def test_hparams_tell_runs_apart_by_what_varies(server: Server, outputs: Path) -> None:
    groups = {group["name"]: group for group in server.session_groups()}
    common = {"latent_dim": 2, "lr": 1e-3, "batch_size": 64, "max_epochs": EPOCHS, "seed": 0}
    assert groups[RUN]["hparams"] == common
    assert len(groups) == 5
    for name, group in groups.items():
        run = outputs / name
        if name != RUN:
            axes = json.loads((run / "job.json").read_text())["axes"]
            assert group["hparams"] == common | {"max_epochs": 2} | axes
        numbers = json.loads((run / "metrics.json").read_text())
        shown = {metric["name"]["tag"]: metric["value"] for metric in group["metricValues"]}
        expected = {name: numbers[name] for name in ("val/loss", "probe/train_acc", "probe/val_acc")}
        assert shown == pytest.approx(expected, rel=1e-6)
        assert [session["status"] for session in group["sessions"]] == ["STATUS_SUCCESS"]


# In a browser.


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tab", "colour", "pixels"),
    [
        ("scalars", (255, 112, 67), 100),  # the first run's curves
        ("images", (0, 0, 0), 5_000),  # digits' background
        ("hparams", (245, 124, 0), 10_000),  # the bar over the table, which is not there without one
    ],
)
def test_a_browser_draws_it(
    tab: str, colour: tuple[int, int, int], pixels: int, server: Server, chromium: str, tmp_path: Path
) -> None:
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"]
    options += ["--disable-background-networking", "--disable-component-update", "--window-size=1200,1000"]
    options += ["--virtual-time-budget=20000", f"--user-data-dir={tmp_path / 'profile'}"]
    options += [f"--screenshot={tmp_path / 'page.png'}", f"{server.url}/#{tab}"]
    subprocess.run([chromium, *options], check=True, capture_output=True, timeout=120)
    below = np.asarray(Image.open(tmp_path / "page.png").convert("RGB"))[70:, 340:]  # the header, beside the choices
    assert (np.abs(below.astype(int) - colour).max(axis=-1) < 3).sum() > pixels
