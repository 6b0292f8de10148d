"""Pictures: what they show, their files, and which of them TensorBoard is shown when."""

import errno
import io
import os
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from conftest import SMALL, Compose, composing, evaluated
from hydra import compose
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.image import imread
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor
from torch.distributions import Normal

from vae_lightning import VAE, InputError
from vae_lightning.callbacks import figures
from vae_lightning.callbacks.figures import Figures
from vae_lightning.evaluation.curves import draw_curves, late_range
from vae_lightning.evaluation.kl_by_dimension import draw_kl
from vae_lightning.evaluation.latent_space import draw_latent_space
from vae_lightning.evaluation.pictures import ENLARGED, HEAD, LARGEST, MARGIN, Picture, pictures
from vae_lightning.palette import COLOURS
from vae_lightning.posteriors import gaussian_kl
from vae_lightning.runs.checkpoints import SafeCheckpointIO
from vae_lightning.runs.training import train
from vae_lightning.streams import generator

# What is shown.


class Watched(VAE):
    """Remembers what it decoded."""

    def decode(self, z: Tensor) -> Tensor:
        self.decoded = [*getattr(self, "decoded", []), z.clone()]
        return super().decode(z)


def drawn(vae: Watched, images: Tensor, **options: Any) -> dict[str, tuple[Picture, Tensor]]:
    """By their names the pictures and the latents that they were decoded from."""
    vae.decoded = []
    found = pictures(vae, images, **options)
    # In the order in which they were made: the noise and the plane need no encoder.
    return {picture.name: (picture, z) for picture, z in zip(found, vae.decoded, strict=True)}


def test_reconstructions_stand_under_their_images(images: Tensor) -> None:
    vae = Watched(seed=1).train()
    vae.encoder.eval()
    picture, _ = drawn(vae, images[:7], what="odd images")["reconstructions"]
    assert picture.title == "odd images over their reconstructions"
    assert picture.columns == 7
    assert torch.equal(picture.images[:7], images[:7])
    assert torch.equal(picture.images[7:], vae.reconstruct(images[:7]).detach())
    assert (vae.training, vae.encoder.training) == (True, False)
    assert all(weight.grad is None for weight in vae.parameters())


def test_samples_are_of_the_same_noise_whatever_the_weights_and_the_global_generator(images: Tensor) -> None:
    vae = Watched(latent_dim=3, seed=1)
    first, noise = drawn(vae, images[:2], samples=5)["samples"]
    assert noise.shape == (5, 3)
    torch.manual_seed(3)
    again, _ = drawn(vae, images[:3], samples=5)["samples"]
    assert torch.equal(again.images, first.images)
    with torch.no_grad():
        for weight in vae.parameters():
            weight.mul_(2)
    trained, same = drawn(vae, images[:2], samples=5)["samples"]
    assert torch.equal(same, noise)
    assert not torch.equal(trained.images, first.images)
    assert torch.equal(trained.images, vae.sample(5, noise).detach())
    assert not torch.equal(drawn(Watched(latent_dim=3, seed=2), images[:2], samples=5)["samples"][1], noise)


@pytest.mark.parametrize("latent_dim", [1, 4, 30])
def test_each_row_of_the_traversals_moves_one_dimension_those_of_the_largest_kl_first(
    latent_dim: int, images: Tensor
) -> None:
    vae = Watched(latent_dim=latent_dim, seed=1)
    with torch.no_grad():
        mu, logvar = vae.encode(images[:6])
    kl = torch.rand(latent_dim, generator=generator(0, "test"))
    for given, expected in ((kl, kl), (None, gaussian_kl(mu, logvar).mean(0))):
        picture, z = drawn(vae, images[:6], kl=given)["traversals"]
        order = expected.argsort(descending=True)[:10].tolist()
        rows = z.unflatten(0, (len(order), picture.columns))
        for row, dimension in zip(rows, order, strict=True):
            assert row[:, dimension].tolist() == pytest.approx(np.linspace(-3, 3, 11).tolist(), abs=1e-6)
            others = [place for place in range(latent_dim) if place != dimension]
            torch.testing.assert_close(row[:, others], mu[0, others].expand(11, -1))
        assert picture.rows == [f"dimension {dimension}, KL {expected[dimension]:.2f}" for dimension in order]
        assert picture.heads == ["-3", "-2.4", "-1.8", "-1.2", "-0.6", "0", "0.6", "1.2", "1.8", "2.4", "3"]


@pytest.mark.parametrize("layers", [1, 2])
def test_traversals_of_binary_latents_flip_them_for_several_images(layers: int, images: Tensor) -> None:
    two: dict[str, Any] = {
        key: {"_target_": f"vae_lightning.{key}s.TwoLayers"} for key in ("posterior", "prior")
    }  # of Bernoulli variables
    one: dict[str, Any] = {"posterior": {"_target_": "vae_lightning.posteriors.Bernoulli"}}
    estimator = {"_target_": "vae_lightning.estimators.DisARM"}
    choices: dict[str, Any] = one if layers == 1 else two
    vae = Watched(latent_dim=2, seed=1, estimator=estimator, **choices)
    found = drawn(vae, images[:10])
    picture, z = found["traversals"]
    with torch.no_grad():
        mean = vae.encode(images[:10]).mean[::2, :2]  # the layer that the decoder sees
    for row in z.unflatten(0, (2, 5, 2)):
        (dimension,) = (row - mean[:, None]).flatten(0, 1).any(0).nonzero().flatten().tolist()
        assert row[..., dimension].tolist() == [[0, 1]] * 5
        torch.testing.assert_close(row[..., 1 - dimension], mean[:, None, 1 - dimension].expand(5, 2))
    assert picture.heads == ["0", "1"] * 5
    assert picture.title == f"one dimension of {'z' if layers == 1 else 'z1'} per row, set to 0 and 1, for 5 images"
    assert "manifold" not in found


def test_the_manifold_is_of_the_priors_quantiles_one_dimension_to_the_right_the_other_upwards(images: Tensor) -> None:
    picture, z = drawn(Watched(latent_dim=2), images[:2])["manifold"]
    grid = Normal(0, 1).cdf(z).unflatten(0, (-1, picture.columns))  # rows from the top, columns, dimensions
    assert grid.shape == (20, 20, 2)
    quantiles = torch.linspace(0.02, 0.98, 20)
    torch.testing.assert_close(grid[..., 0], quantiles.expand(20, 20), atol=1e-5, rtol=0)
    torch.testing.assert_close(grid[..., 1], quantiles.flip(0)[:, None].expand(20, 20), atol=1e-5, rtol=0)
    sides = z.unflatten(0, (20, 20))
    assert [float(row) for row in picture.rows] == pytest.approx(sides[:, 0, 1].tolist(), abs=0.006)
    assert [float(head) for head in picture.heads] == pytest.approx(sides[0, :, 0].tolist(), abs=0.006)
    for other in (1, 3):
        assert "manifold" not in drawn(Watched(latent_dim=other), images[:2])


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_a_grid_shows_every_pixel(channels: int) -> None:
    images = torch.rand(3, channels, 4, 5, generator=generator(0, "test"))
    grid = Picture("", "", images, columns=2).grid()
    side_by_side = 2 if channels == 2 else 1
    assert grid.shape == (3, 2 * 5 + 1, 2 * (5 * side_by_side + 1) + 1)
    first = grid[:, 1:5, 1 : 1 + 5 * side_by_side]
    expected = images[0] if channels == 3 else torch.cat([*images[0]], -1).expand(3, -1, -1)
    assert torch.equal(first, expected)
    assert torch.equal(grid[:, 6, 1], images[2, :, 0, 0].expand(3) if channels != 2 else images[2, 0, 0, 0].expand(3))
    assert (grid[:, 0] == 0.5).all()


# Figures.


@pytest.mark.parametrize(
    ("shape", "columns"), [((400, 1, 28, 28), 20), ((2, 3, 4, 5), 16), ((1, 1, 28, 28), 1), ((100, 3, 256, 256), 10)]
)
@pytest.mark.parametrize("title", ["", "images of no colour", "a title that is longer than the grid " * 5])
def test_a_file_shows_the_grid_and_above_it_the_whole_title(title: str, shape: tuple[int, ...], columns: int) -> None:
    picture = Picture("grid", title, torch.zeros(shape), columns)
    pixels = imread(io.BytesIO(picture.png()), format="png")[..., None]  # colours last
    height, width = pixels.shape[:2]
    assert width < 2200
    assert 50 < height < 2200
    assert pixels.shape[2:] == ((3, 1) if shape[1] == 3 else (1,))
    above, below = pixels[:HEAD], pixels[HEAD:-MARGIN]
    columns_of_grid = np.flatnonzero((below != 1).reshape(len(below), width, -1).any((0, 2)))
    scale = min(ENLARGED, LARGEST / max(picture.grid().shape))
    assert len(below) == round(scale * picture.grid().shape[1])
    assert len(columns_of_grid) == round(scale * picture.grid().shape[2])
    assert (below.reshape(len(below), width, -1)[:, columns_of_grid].max()) <= 0.51  # black, with grey between
    # Nothing of the title touches an edge.
    assert (above != 1).any() == (title != "")
    assert (above[[0, -1]] == 1).all()
    assert (above[:, [0, -1]] == 1).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_a_file_shows_each_pixel_of_an_image_as_a_square(channels: int) -> None:
    images = torch.rand(1, channels, 6, 90, generator=generator(0, "test"))
    pixels = imread(io.BytesIO(Picture("grid", "", images, 1).png()), format="png")
    grid = pixels[HEAD:-MARGIN, MARGIN:-MARGIN].reshape(16, 184, -1)[2:-2, 2:-2]  # within a line of grey pixels
    expected = images[0].permute(1, 2, 0).repeat_interleave(2, 0).repeat_interleave(2, 1)
    assert np.allclose(grid, expected.numpy(), atol=1 / 255)


def test_a_file_has_labels_beside_the_rows_and_above_the_columns() -> None:
    plain = Picture("grid", "title", torch.zeros(6, 1, 28, 28), 3)
    labelled = plain._replace(rows=["first", "second"], heads=["-1", "0", "1"])
    without, found = (imread(io.BytesIO(picture.png()), format="png") for picture in (plain, labelled))
    height, width = plain.grid().shape[1] * ENLARGED, plain.grid().shape[2] * ENLARGED
    grid = found[-MARGIN - height : -MARGIN, -MARGIN - width : -MARGIN]
    assert np.array_equal(grid, without[HEAD:-MARGIN, MARGIN:-MARGIN])
    beside, above = found[-MARGIN - height : -MARGIN, : -MARGIN - width], found[HEAD : -MARGIN - height, -width:]
    for part in (beside[: height // 2], beside[height // 2 :], *np.array_split(above, 3, 1)):
        assert (part < 0.5).any()
        assert (part[[0, -1]] == 1).all()
    tiny = Picture("grid", "", torch.zeros(100, 1, 2, 2), 10, ["row"] * 10, ["-0.123"] * 10).png()
    assert Image.open(io.BytesIO(tiny)).width < 150  # labels without room are left out


@pytest.mark.parametrize("kl", [[0.5, 0.0, 2.0], [0.0] * 20, [1e-9] * 3, [0.1] * 40])
def test_the_kls_bars_are_in_falling_order_and_their_sum_is_told(kl: list[float]) -> None:
    variances = [0.0099 if value < 0.3 else 0.0101 for value in kl]
    axes, below = draw_kl(torch.tensor(kl), torch.tensor(variances), "odd images").axes
    assert [bar.get_height() for bar in axes.patches] == pytest.approx(sorted(kl, reverse=True))  # type: ignore[attr-defined]
    assert axes.get_title() == f"KL by dimension, mean over odd images; {sum(kl):.2f} nats in total"
    assert axes.get_ylim()[0] == 0
    if len(kl) <= 32:
        order = [int(label.get_text()) for label in below.get_xticklabels()]
        assert [kl[dimension] for dimension in order] == sorted(kl, reverse=True)
        assert [bar.get_height() for bar in below.patches] == pytest.approx([variances[each] for each in order])  # type: ignore[attr-defined]
    # The threshold is drawn, and decides the colours.
    assert below.lines[0].get_ydata() == [0.01, 0.01]
    active = sum(value > 0.01 for value in variances)
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text().partition(":")[0] for text in legend.get_texts()] == [
        f"{active} active",
        f"{len(kl) - active} inactive",
    ]
    colours = [to_hex(bar.get_facecolor()) for bar in below.patches]
    assert colours == [COLOURS[0]] * active + [COLOURS[1]] * (len(kl) - active)


def points(figure: Figure) -> tuple[Any, list[str]]:
    """All points and, for each of them, the label of its colour in the legend."""
    (axes,) = figure.axes
    found = [(np.asarray(scatter.get_offsets()), str(scatter.get_label())) for scatter in axes.collections]
    return np.concatenate([own for own, _ in found]), [label for own, label in found for _ in own]


@pytest.mark.parametrize("classes", [1, 10, 15, 47])
def test_each_label_has_a_colour_and_stands_in_the_legend(classes: int) -> None:
    mu, labels = torch.rand(200, 2, generator=generator(0, "test")), torch.arange(200) % classes + 7
    figure = draw_latent_space(mu, labels, "odd images")
    where, names = points(figure)
    order = labels.argsort(stable=True)
    assert np.allclose(where, mu[order].numpy())
    assert names == [str(label) for label in labels[order].tolist()]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == [str(label + 7) for label in range(classes)]
    marks = {
        (str(scatter.get_facecolor()), str(scatter.get_paths()[0].vertices)) for scatter in figure.axes[0].collections
    }
    assert len(marks) == classes
    # Each label also stands at the median of its points.
    assert [text.get_text() for text in figure.axes[0].texts] == [str(label + 7) for label in range(classes)]
    for label, text in enumerate(figure.axes[0].texts):
        assert np.allclose(text.get_position(), np.median(mu[labels == label + 7].numpy(), 0), rtol=0.01)
    assert figure.axes[0].get_title() == "posterior means of 200 odd images"
    figure.draw_without_rendering()
    within = figure.bbox
    assert within.y0 <= legend.get_window_extent().y0
    assert legend.get_window_extent().y1 <= within.y1
    assert figure.axes[0].get_window_extent().x1 < legend.get_window_extent().x0


def test_more_dimensions_are_seen_along_their_principal_components() -> None:
    draws = torch.randn(300, 5, generator=generator(0, "test"), dtype=torch.float64)
    rotation, _ = torch.linalg.qr(torch.randn(5, 5, generator=generator(1, "test"), dtype=torch.float64))
    mu = draws * torch.tensor([0.1, 3.0, 0.1, 1.0, 0.1]) @ rotation + 7
    figure = draw_latent_space(mu, torch.zeros(300, dtype=torch.int64))
    variances = torch.linalg.svdvals(mu - mu.mean(0)).square() / 300
    where, _ = points(figure)
    assert np.allclose(where.var(0), variances[:2])
    assert np.allclose(where.mean(0), 0)
    shares = variances / variances.sum()
    assert figure.axes[0].get_xlabel() == f"principal component 1, {shares[0]:.0%} of the variance"
    assert figure.axes[0].get_ylabel() == f"principal component 2, {shares[1]:.0%} of the variance"
    collapsed = draw_latent_space(torch.ones(10, 5), torch.arange(10))
    assert np.allclose(points(collapsed)[0], 0)


def test_one_dimension_is_seen_by_label() -> None:
    mu, labels = torch.tensor([[0.5], [1.5], [2.5]]), torch.tensor([3, 1, 2])
    where, _ = points(draw_latent_space(mu, labels))
    assert where.tolist() == [[1.5, 1], [2.5, 2], [0.5, 3]]


@pytest.mark.parametrize("scale", [1e-5, 1.0, 1e6])
def test_no_number_and_no_word_of_a_figure_is_cut_off(scale: float) -> None:
    history = [{"train/loss": scale / epoch, "train/recon": scale, "train/kl": -scale} for epoch in (1, 2, 3)]
    mu = scale * torch.randn(50, 4, generator=generator(0, "test"))
    latent_space = draw_latent_space(mu, torch.arange(50) % 10, prior=scale * torch.randn(50, 4))
    for figure in (draw_curves(history, 1), draw_kl(scale * torch.rand(40), torch.rand(40)), latent_space):
        figure.draw_without_rendering()
        for axes in figure.axes:
            box = axes.get_tightbbox()
            assert box is not None
            assert box.x0 >= 0
            assert box.y0 >= 0
            assert box.x1 <= figure.bbox.x1
            assert box.y1 <= figure.bbox.y1
        for one, next_one in pairwise([axes.get_tightbbox() for axes in figure.axes]):
            assert one is not None
            assert next_one is not None
            assert one.x1 <= next_one.x0 or next_one.y1 <= one.y0  # beside or below


def test_curves_have_a_point_an_epoch_of_each_stage() -> None:
    history = [
        {"epoch": 0, "train/loss": 3.0, "train/kl": 1.0},
        {"epoch": 1, "train/loss": 2.0, "train/kl": 2.0, "val/loss": 4.0},
        {"epoch": 2, "test/loss": 9.0},
    ]
    loss, recon, kl = draw_curves(history).axes
    lines = {line.get_label(): np.asarray(line.get_xydata()).tolist() for line in loss.lines}
    assert lines == {"train": [[1, 3], [2, 2]], "val": [[2, 4]]}
    assert [axes.get_title() for axes in (loss, recon, kl)] == ["loss = -ELBO", "reconstruction", "KL"]
    assert (len(recon.lines), len(kl.lines)) == (0, 1)


def test_the_first_epochs_do_not_rule_the_axis_and_the_best_is_marked() -> None:
    history = [{"train/loss": 900 / epoch, "val/loss": 100.0 + abs(epoch - 5), "val/kl": 3.0} for epoch in range(1, 13)]
    history[0] |= {"train/loss": 1e6}
    loss, _, kl = draw_curves(history, 4).axes
    low, high = loss.get_ylim()
    assert low < 75  # the last point of training
    assert 225 < high < 900  # the fourth point, not the third
    star, line = ([each for each in loss.lines if each.get_linestyle() == style][-1] for style in ("None", ":"))
    assert np.asarray(star.get_xydata()).tolist() == [[5, 100]]
    assert star.get_label() == "best epoch, 5"
    assert line.get_xdata() == [5, 5]
    assert loss.get_title() == "loss = -ELBO; 100.00 at ★"
    assert kl.get_title() == "KL; 3.0000 at ★"
    # A best epoch among the first ones is within the axis all the same, and without validation it is of training.
    (low, _) = draw_curves([{"train/loss": float(epoch)} for epoch in range(20)], 0).axes[0].get_ylim()
    assert low < 0


def test_a_range_leaves_out_a_quarter_of_each_curve_and_what_is_not_finite() -> None:
    assert late_range([[100.0, 4, 3, 2], [50.0, 0, 1, float("inf")]]) == pytest.approx((-0.32, 4.32))
    assert late_range([[100.0, 4]]) == pytest.approx((4 - 0.08 * 96, 100 + 0.08 * 96))  # too short to leave any out
    assert late_range([[9.0, 1, 1, 1]], [5.0]) == pytest.approx((0.68, 5.32))
    assert late_range([[float("nan")]]) is None


@pytest.mark.parametrize("epochs", [1, 2, 40])
def test_the_ticks_of_curves_are_whole_epochs(epochs: int) -> None:
    for axes in draw_curves([{"train/loss": 1.0, "train/recon": 1.0, "train/kl": 1.0}] * epochs).axes:
        assert all(float(tick).is_integer() for tick in axes.get_xticks())


# While training.


@pytest.mark.parametrize("max_epochs", [1, 9, 10, 11, 19, 20, 21, 100, 101, -1])
def test_tensorboard_can_keep_every_picture(max_epochs: int, images: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[int] = []
    monkeypatch.setattr(figures, "show_image", lambda loggers, tag, image, step: shown.append(step))
    callback, vae = Figures("unused", samples=1), VAE(latent_dim=1, widths=[1])
    callback._watched = images[:2], "val"
    for epoch in range(max(max_epochs, 5)):
        trainer = SimpleNamespace(max_epochs=max_epochs, current_epoch=epoch, loggers=[], global_step=epoch + 1)
        callback.on_train_epoch_end(trainer, vae)  # type: ignore[arg-type]
    assert shown == sorted(shown)
    times = len(set(shown))
    assert len(shown) == 3 * times  # reconstructions, samples, traversals
    assert (times == 5) if max_epochs == -1 else (min(max_epochs, 5) <= times <= 10)


OPTIONS = [
    *[*SMALL, "trainer.max_epochs=3", "model.latent_dim=2", "callbacks.probe=null"],
    *["callbacks.figures.embedded=50", "callbacks.figures.samples=5", "callbacks.figures.reconstructions=4"],
]
KINDS = {"reconstructions", "samples", "traversals", "manifold"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("finished") / "run"
    with composing():
        train(compose("train", [f"run_dir='{run}'", "sweep.name=test", *OPTIONS]))
    return run


def events(run: Path) -> dict[str, list[tuple[int, object]]]:
    """By tag the steps and contents of pictures and histograms."""
    told = EventAccumulator(str(run), {"images": 0, "histograms": 0}).Reload()
    images = {
        tag: [(event.step, event.encoded_image_string) for event in told.Images(tag)] for tag in told.images.Keys()
    }
    histograms = {
        tag: [(event.step, event.histogram_value) for event in told.Histograms(tag)] for tag in told.histograms.Keys()
    }
    return images | histograms


def test_a_runs_pictures_are_files_and_in_tensorboard(finished: Path) -> None:
    files = {path.name: imread(path) for path in (finished / "figures").iterdir()}
    assert set(files) == {f"{name}.png" for name in KINDS | {"curves", "latent_space", "kl_by_dimension"}}
    for name, pixels in files.items():
        assert 80 < pixels.shape[0] < 2500, name
        assert 200 < pixels.shape[1] < 2500, name
        assert pixels.std() > 0.01, name
    found = events(finished)
    assert set(found) == {f"visuals/{name}" for name in KINDS - {"traversals"}} | {"visuals/kl_by_dimension"}
    for tag, told in found.items():
        assert [step for step, _ in told] == [16, 32, 48], tag
        assert len({str(content) for _, content in told}) == 3, tag  # they change with the weights


def test_the_histogram_is_of_the_kl_by_dimension(finished: Path) -> None:
    step, histogram = events(finished)["visuals/kl_by_dimension"][-1]
    found = evaluated(shutil.copytree(finished, finished.parent / "copy"), "split=val", "samples=0")
    kl = found["val/kl_per_dimension"]
    assert (step, len(kl)) == (48, 2)
    assert histogram.sum == pytest.approx(sum(kl))  # type: ignore[attr-defined]
    assert (histogram.min, histogram.max) == pytest.approx((min(kl), max(kl)))  # type: ignore[attr-defined]


def test_without_validation_training_images_are_watched(composed: Compose, tmp_path: Path) -> None:
    train(composed(*OPTIONS, "data.val_size=0", "trainer.max_epochs=1", "data.batch_size=1000"))
    found = events(tmp_path / "run")
    assert set(found) == {f"visuals/{name}" for name in KINDS - {"traversals"}} | {"visuals/kl_by_dimension"}
    assert all([step for step, _ in told] == [4] for told in found.values())


def test_a_resumed_run_shows_the_pictures_that_it_missed_and_none_twice(
    finished: Path, composed: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = SafeCheckpointIO.save_checkpoint

    def crash(self: SafeCheckpointIO, checkpoint: dict[str, Any], *arguments: Any, **named: Any) -> None:
        if checkpoint["epoch"] == 2:  # whose pictures have been shown, and are to be shown again
            raise RuntimeError("a crash")
        save(self, checkpoint, *arguments, **named)

    with monkeypatch.context() as patched:
        patched.setattr(SafeCheckpointIO, "save_checkpoint", crash)
        with pytest.raises(RuntimeError, match="a crash"):
            train(composed(*OPTIONS))
    assert not (tmp_path / "run/figures").exists()
    train(composed(*OPTIONS))
    found, expected = events(tmp_path / "run"), events(finished)
    assert found.keys() == expected.keys()
    for tag, told in expected.items():
        assert str(found[tag]) == str(told), tag
    for file in (finished / "figures").iterdir():
        assert (tmp_path / "run/figures" / file.name).read_bytes() == file.read_bytes(), file.name


# Made anew.


def test_vae_eval_makes_the_same_pictures_anew_and_those_of_other_images(finished: Path, tmp_path: Path) -> None:
    run = shutil.copytree(finished, tmp_path / "run")
    shutil.rmtree(run / "figures")
    evaluated(run, "samples=0")
    expected = {path.name: path.read_bytes() for path in (finished / "figures").iterdir()}
    found = {path.name: path.read_bytes() for path in (run / "figures").iterdir()}
    # The last bits of a mean depend on the size of the batches, and the edges of the labels' boxes on them.
    again, before = (imread(io.BytesIO(each["latent_space.png"]), format="png") for each in (found, expected))
    assert np.allclose(again, before, atol=1.5 / 255)
    assert found | {"latent_space.png": expected["latent_space.png"]} == expected
    evaluated(run, "samples=0", "split=val")
    changed = {path.name for path in (run / "figures").iterdir() if path.read_bytes() != expected[path.name]}
    assert changed == expected.keys() - {"samples.png", "manifold.png", "curves.png"}


def test_a_crash_leaves_the_old_picture(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, images: Tensor
) -> None:
    folder = shutil.copytree(finished / "figures", tmp_path / "figures")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        Figures(str(folder)).write(VAE(latent_dim=2), [(images, torch.arange(100) % 10)], "images")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_few_images_of_many_colours_are_enough(tmp_path: Path) -> None:
    vae = VAE(latent_dim=1, image_shape=[3, 6, 9], widths=[4])
    batch = torch.rand(3, 3, 6, 9), torch.tensor([20, 7, 7])
    shown, mu, labels = Figures(str(tmp_path)).write(vae, [batch], "images")
    assert labels is not None
    assert (len(shown), mu.shape, labels.tolist()) == (3, (3, 1), [20, 7, 7])
    assert {path.stem for path in tmp_path.iterdir()} == (KINDS | {"latent_space", "kl_by_dimension"}) - {"manifold"}


def test_the_images_shown_are_spread_over_all(tmp_path: Path, images: Tensor) -> None:
    callback = Figures(str(tmp_path), embedded=10, reconstructions=5)
    batches: list[tuple[Tensor, Tensor]] = [(part, torch.arange(10)) for part in images.split(10)]
    shown, _, _ = callback.write(VAE(latent_dim=1), batches, "images")
    assert torch.equal(shown, images[::10])


def test_a_datamodule_is_asked_for(composed: Callable[..., Any]) -> None:
    with pytest.raises(InputError, match="Figures needs a datamodule"):
        Figures("unused").setup(SimpleNamespace(datamodule=None), VAE(), "fit")  # type: ignore[arg-type]
