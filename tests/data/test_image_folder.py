"""A folder of PNG and JPEG files: what is read, what is refused, and what is kept."""

import logging
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Command, Compose, evaluated, metrics_of
from numpy.typing import NDArray
from PIL import Image

from vae_lightning import ImageFolderDataModule, InputError
from vae_lightning.data import image_decoding
from vae_lightning.runs.training import train

COUNT = 30


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/vae-lightning/images"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that have been decoded."""
    files: list[Path] = []
    decode = image_decoding._decoded

    def counting(file: Path, size: tuple[int, int], mode: str) -> NDArray[np.uint8]:
        files.append(file)
        return decode(file, size, mode)

    monkeypatch.setattr(image_decoding, "_decoded", counting)
    return files


def pixels(number: int, *, grey: bool = True, height: int = 6, width: int = 5) -> NDArray[np.uint8]:
    """An image, unlike that of any other number."""
    return np.random.default_rng(number).integers(0, 256, (height, width, *([] if grey else [3])), dtype=np.uint8)


def save(path: Path, image: Any, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(path, **options)
    return path


def flat(folder: Path, count: int = COUNT, first: int = 0) -> Path:
    for number in range(first, first + count):
        save(folder / f"{number:03}.png", pixels(number))
    return folder


def classes(folder: Path, count: int = COUNT, first: int = 0, names: str = "cab") -> Path:
    for number in range(first, first + count):
        save(folder / names[number % len(names)] / f"{number:03}.PNG", pixels(number))
    return folder


def read(path: Path, **options: Any) -> tuple[ImageFolderDataModule, list[tuple[torch.Tensor, torch.Tensor]]]:
    data = ImageFolderDataModule(str(path), **options)
    assert len(data.image_shape) == 3
    data.setup()
    assert data.train is not None
    return data, [(part.data.images, part.data.labels) for part in (data.train, data.val, data.test)]


def numbers(images: torch.Tensor) -> list[int]:
    """Which image each is."""
    known = {pixels(number).tobytes(): number for number in range(200)}
    return [known[image.numpy().tobytes()] for image in images]


def check_names(data: ImageFolderDataModule, parts: list[tuple[torch.Tensor, torch.Tensor]]) -> None:
    for split, (images, _) in zip(("train", "val", "test"), parts, strict=True):
        assert [int(Path(name).stem) for name in data.names(split)] == numbers(images)
        assert all((data.path / name).is_file() for name in data.names(split))


def test_images_of_a_flat_folder_are_split_and_have_no_labels(tmp_path: Path) -> None:
    data, parts = read(flat(tmp_path / "images"))
    assert (data.image_shape, data.classes, data.class_names) == ((1, 6, 5), None, None)
    assert [len(images) for images, _ in parts] == [25, 2, 3]
    assert sorted(number for images, _ in parts for number in numbers(images)) == [*range(COUNT)]
    assert all(labels.isnan().all() for _, labels in parts)
    check_names(data, parts)
    _, again = read(tmp_path / "images", seed=5)
    assert all(torch.equal(images, other) for (images, _), (other, _) in zip(parts, again, strict=True))
    _, other = read(tmp_path / "images", test_size=7, val_size=0)
    assert [len(images) for images, _ in other] == [23, 0, 7]


def test_labels_are_the_places_of_the_sorted_class_names(tmp_path: Path) -> None:
    classes(tmp_path / "images")
    save(tmp_path / "images/b/deeper/100.png", pixels(100))
    data, parts = read(tmp_path / "images", test_size=6, val_size=6)
    assert (data.classes, data.class_names) == (3, ("a", "b", "c"))
    for images, labels in parts:
        assert [1 if number == 100 else (2, 0, 1)[number % 3] for number in numbers(images)] == labels.tolist()
        assert labels.dtype == torch.int64
    assert parts[2][1].bincount().tolist() == [2, 2, 2]


@pytest.mark.parametrize("val", ["val", "Valid", "validation", None])
def test_folders_named_after_splits_are_the_splits(val: str | None, tmp_path: Path) -> None:
    root = tmp_path / "images"
    classes(root / "train")
    classes(root / "test", 6, first=100, names="bd")
    if val:
        classes(root / val, 4, first=150, names="a")
    data, parts = read(root)
    assert data.class_names == ("a", "b", "c", "d")
    assert numbers(parts[2][0]) == [100, 102, 104, 101, 103, 105]  # sorted by path
    assert parts[2][1].tolist() == [1, 1, 1, 3, 3, 3]
    check_names(data, parts)
    if val:
        assert numbers(parts[1][0]) == [150, 151, 152, 153]
        assert sorted(numbers(parts[0][0])) == [*range(COUNT)]
    else:
        assert [len(images) for images, _ in parts[:2]] == [27, 3]
    for split in ("test", "val") if val else ("test",):
        with pytest.raises(InputError, match=rf"^data\.{split}_size=3: must be auto, because .* has a folder"):
            read(root, **{f"{split}_size": 3})


def test_what_is_no_image_is_skipped_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    root = flat(tmp_path / "images/train")
    for name in (".hidden.png", "notes.txt", ".folder/1.png", "labels.csv"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("no image")
    flat(tmp_path / "images/more", 3)
    (root / "circle").symlink_to(root)
    with caplog.at_level(logging.INFO):
        _, parts = read(tmp_path / "images")
    assert sum(len(images) for images, _ in parts) == COUNT
    assert "25 images for train, 2 images for val, 3 images for test, no classes" in caplog.text
    assert "files skipped (hidden or neither PNG nor JPEG): 3" in caplog.text
    assert "files skipped (outside the folders train): 3" in caplog.text


def opaque(mode: str) -> Image.Image:
    image = Image.fromarray(pixels(0, grey=mode == "LA")).convert(mode)
    image.putalpha(255)
    return image


@pytest.mark.parametrize(
    ("image", "options", "expected"),
    [
        (pixels(0), {}, pixels(0)[None]),
        (pixels(0), {"mode": "rgb"}, np.stack([pixels(0)] * 3)),
        (pixels(0, grey=False), {}, pixels(0, grey=False).transpose(2, 0, 1)),
        (
            pixels(0, grey=False),
            {"mode": "grey"},
            np.asarray(Image.fromarray(pixels(0, grey=False)).convert("L"))[None],
        ),
        (opaque("RGBA"), {}, pixels(0, grey=False).transpose(2, 0, 1)),
        (opaque("LA"), {}, pixels(0)[None]),
        (Image.fromarray(pixels(0) > 99), {}, (pixels(0) > 99)[None] * np.uint8(255)),
        (Image.fromarray(pixels(0)).convert("P"), {}, np.stack([pixels(0)] * 3)),
    ],
)
def test_pixels_are_those_of_the_file(image: Any, options: dict[str, str], expected: Any, tmp_path: Path) -> None:
    for number in range(3):
        save(tmp_path / "images" / f"{number}.png", image)
    data, parts = read(tmp_path / "images", **options)
    assert data.image_shape == expected.shape
    assert all(np.array_equal(images[0], expected) for images, _ in parts)


def test_one_colour_image_makes_all_rgb(tmp_path: Path) -> None:
    save(flat(tmp_path / "images") / "colour.png", pixels(0, grey=False))
    assert read(tmp_path / "images")[0].image_shape == (3, 6, 5)


def test_jpeg_files_are_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned to the left
    smooth = np.linspace(0, 255, 16 * 8).reshape(16, 8).astype(np.uint8)
    for name in ("a.jpg", "b.jpeg", "c.JPG"):
        save(tmp_path / "images" / name, np.ascontiguousarray(np.rot90(smooth)), exif=exif, quality=95)
    data, parts = read(tmp_path / "images")
    assert data.image_shape == (1, 16, 8)
    assert np.abs(parts[0][0][0, 0].numpy() - smooth.astype(int)).max() < 12


def test_images_of_several_sizes_are_cropped_and_resized(tmp_path: Path) -> None:
    band = np.zeros((20, 60), np.uint8)
    band[:, 20:40] = 200  # the square in the middle
    for name, size in (("a", (60, 20)), ("b", (120, 40)), ("c", (60, 20))):
        save(tmp_path / f"images/{name}.png", Image.fromarray(band).resize(size, Image.Resampling.NEAREST))
    said = r"^data\.size=None: must be given, e\.g\. data\.size=20 or data\.size=\[20,60\], .*/b\.png 40 x 120$"
    with pytest.raises(InputError, match=said):
        read(tmp_path / "images")
    data, parts = read(tmp_path / "images", size=10)
    assert data.image_shape == (1, 10, 10)
    assert all((images[..., 2:-2] == 200).all() for images, _ in parts)
    assert all((images > 150).all() for images, _ in parts)
    assert read(tmp_path / "images", size=[10, 30])[0].image_shape == (1, 10, 30)


DEEP = (np.arange(30) * 2000).astype(np.uint16).reshape(6, 5)
CLEAR = Image.new("RGBA", (5, 6), (255, 0, 0, 0))


@pytest.mark.parametrize(
    ("name", "image", "said", "becomes"),
    [
        ("x.png", DEEP, "has 16 bits per channel; images must be grey or RGB", DEEP[None] // 257),
        ("x.jpg", Image.new("CMYK", (5, 6)), "has the mode CMYK; images must be grey or RGB", None),
        ("x.png", CLEAR, "has transparent pixels; images must be opaque", np.full((3, 6, 5), 255)),
    ],
)
def test_what_is_refused_can_be_converted_as_the_error_says(
    name: str, image: Any, said: str, becomes: Any, tmp_path: Path
) -> None:
    file = save(flat(tmp_path / "images") / name, image)
    with pytest.raises(InputError) as refused:
        read(tmp_path / "images")
    assert str(refused.value).startswith(f"{file}: {said}")
    exec(str(refused.value).partition("to convert it: ")[2], {"np": np})
    _, parts = read(tmp_path / "images")
    if becomes is not None:
        assert any(np.array_equal(image, becomes) for images, _ in parts for image in images)


def test_a_file_that_cannot_be_decoded_is_named(tmp_path: Path) -> None:
    file = flat(tmp_path / "images") / "012.png"
    for content in (file.read_bytes()[:60], b"GIF89a", b""):
        file.write_bytes(content)
        with pytest.raises(InputError, match=rf"^{re.escape(str(file))}: cannot be decoded \(.*\); replace it or"):
            read(tmp_path / "images")


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], "must hold PNG or JPEG files, and .* holds none"),
        (["a.png", "b/c.png"], "must hold images or folders of images, the classes, but .*a.png is in none"),
        (["test/a.png", "b/c.png"], "must hold a folder train beside test"),
        (["train/a.png", "val/c.png", "Valid/c.png"], "must hold one folder of val, not Valid and val"),
        (["train/a.png", "test/a.txt"], "must hold PNG or JPEG files, and .*test holds none"),
        (["a.png", "b.png"], "holds 2 images for training and test and val; must hold at least 3"),
    ],
)
def test_folders_that_say_nothing_clear_are_refused(names: list[str], said: str, tmp_path: Path) -> None:
    root = tmp_path / "images"
    root.mkdir()
    for name in names:
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).touch()
    with pytest.raises(InputError, match=f"^data.path={root}: {said}"):
        read(root)


def test_images_are_decoded_once(tmp_path: Path, decoded: list[Path], cache: Path) -> None:
    root = classes(tmp_path / "images")
    _, parts = read(root)
    assert len(decoded) == COUNT
    decoded.clear()

    def same(**options: Any) -> bool:
        found = read(root, **options)[1]
        return all(
            torch.equal(a, b) for pair, own in zip(parts, found, strict=True) for a, b in zip(pair, own, strict=True)
        )

    assert same()
    assert same(seed=3, batch_size=7)
    assert decoded == []
    # A changed option, a changed file, a damaged file of the cache, another folder, and none.
    assert read(root, mode="rgb")[0].image_shape == (3, 6, 5)
    assert len(decoded) == COUNT
    save(root / "a/001.PNG", pixels(150))
    assert not same()
    assert len(decoded) == 2 * COUNT
    save(root / "a/001.PNG", pixels(1))
    for file in cache.glob("*.npz"):
        file.write_bytes(file.read_bytes()[:-300] + bytes(300))
    assert same()
    assert same(cache=str(tmp_path / "other"))
    assert same(cache=str(tmp_path / "other"))
    assert len(decoded) == 4 * COUNT
    assert same(cache=False)
    os.utime(root / "a/001.PNG", ns=(1, 1))
    assert same()
    assert len(decoded) == 6 * COUNT


def test_without_a_place_for_the_cache_images_are_decoded_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    _, parts = read(flat(tmp_path / "images"), cache=str(tmp_path / "file"))
    assert len(parts[0][0]) == 25
    assert "are not kept for later runs" in caplog.text


OPTIONS = ["data=images", "data.batch_size=8", "trainer=cpu", "trainer.max_epochs=1", "model.widths=[8]"]


def test_a_folder_goes_through_the_commands(tmp_path: Path, command: Command) -> None:
    path = f"data.path={classes(tmp_path / 'images')}"
    done = command("train", *OPTIONS, path, "run_dir=run", "model=conditional")
    assert done.returncode == 0, done.stderr
    metrics = metrics_of(tmp_path / "run")
    assert metrics["probe/test_acc"] >= 0
    content = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    assert content["hyper_parameters"]["image_shape"] == [1, 6, 5]
    assert content["hyper_parameters"]["classes"] == 3
    assert evaluated(tmp_path / "run", "samples=0")["test/loss"] == metrics["test/loss"]


def test_without_labels_the_probe_is_left_out(
    tmp_path: Path, composed: Compose, caplog: pytest.LogCaptureFixture
) -> None:
    path = f"data.path={flat(tmp_path / 'images')}"
    metrics = train(composed(*OPTIONS, path))
    assert not any(name.startswith("probe/") for name in metrics)
    assert metrics["test/loss"] > 0
    assert "the probe is left out: the data have no labels" in caplog.text
    assert (tmp_path / "run/figures/latent_space.png").exists()
    shutil.rmtree(tmp_path / "run")
    for classes in ("auto", "3"):
        with pytest.raises(InputError, match=rf"^model\.classes={classes}: must be null, because the data have no"):
            train(composed(*OPTIONS, path, "model=conditional", f"model.classes={classes}"))
    assert [path for path in (tmp_path / "run").rglob("*") if path.is_file()] == []
