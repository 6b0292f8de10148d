"""One's own images."""

import gzip
import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from conftest import Command, Compose, composing
from hydra import compose
from numpy.typing import NDArray

from vae_lightning import FilesDataModule, InputError
from vae_lightning.commands.evaluate import evaluate
from vae_lightning.data.published import FILES
from vae_lightning.runs.training import train

Arrays = dict[str, NDArray[Any]]

NAMES = list(FILES)
LABELS = np.array([-5, 7, 1000])


def grey(count: int) -> Arrays:
    """Images of 5x4, no two alike, and labels of bytes."""
    images = np.arange(count * 20, dtype=np.int64).reshape(count, 5, 4)
    return {"images": (images * 7 % 256).astype(np.uint8), "labels": (np.arange(count) % 3).astype(np.uint8)}


def colours(count: int) -> Arrays:
    """Red, green and blue images, ``(count, 16, 16, 3)``, brighter to the right, with labels of all kinds."""
    kind = np.arange(count) % 3
    images = np.zeros((count, 16, 16, 3), np.uint8)
    images[np.arange(count), :, :, kind] = np.arange(16) * 10 + 60
    return {"images": images, "labels": LABELS[kind]}


def with_test(make: Callable[[int], Arrays]) -> Arrays:
    return {
        f"{part}_{name}": array for part, count in (("train", 30), ("test", 9)) for name, array in make(count).items()
    }


def write(folder: Path, form: str, arrays: Arrays) -> Path:
    """The arrays in one of the forms that are understood."""
    if form == "npz":
        np.savez(folder / "own.npz", allow_pickle=True, **arrays)
        return folder / "own.npz"
    for (name, array), idx in zip(arrays.items(), FILES, strict=False):
        if form == "npy":
            np.save(folder / f"{name}.npy", array)
        else:
            content = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
            (folder / f"{idx}.gz" if form == "idx.gz" else folder / idx).write_bytes(
                gzip.compress(content) if form == "idx.gz" else content
            )
    return folder


@pytest.mark.parametrize("form", ["npz", "npy", "idx", "idx.gz"])
def test_a_training_and_a_test_set_are_read_as_they_are(form: str, tmp_path: Path) -> None:
    arrays = with_test(grey)
    data = FilesDataModule(str(write(tmp_path, form, arrays)), val_size=0)
    assert data.image_shape == (1, 5, 4)
    data.setup()
    assert data.train is not None
    for part, found in (("train", data.train.data), ("test", data.test.data)):
        assert torch.equal(found.images[:, 0], torch.from_numpy(arrays[f"{part}_images"]))
        assert found.labels.tolist() == arrays[f"{part}_labels"].tolist()
        assert found.labels.dtype == torch.int64


@pytest.mark.parametrize("form", ["npz", "npy"])
def test_of_a_pair_of_arrays_a_test_set_is_set_apart(form: str, tmp_path: Path) -> None:
    arrays = colours(60)
    arrays["images"][:, 0, 0, 0] = np.arange(60)  # so that what went where can be read off
    arrays["labels"] = arrays["labels"][:, None]
    data = FilesDataModule(str(write(tmp_path, form, arrays)), test_size=12, val_size=9, seed=1)
    assert data.image_shape == (3, 16, 16)
    data.setup()
    assert data.train is not None
    parts = [part.data for part in (data.train, data.val, data.test)]
    numbers = [part.images[:, 0, 0, 0].tolist() for part in parts]
    assert [len(part) for part in numbers] == [39, 9, 12]
    assert sorted(number for part in numbers for number in part) == list(range(60))
    for part, own in zip(parts, numbers, strict=True):
        assert torch.equal(part.images, torch.from_numpy(arrays["images"][own]).permute(0, 3, 1, 2))
        assert part.labels.tolist() == arrays["labels"][own, 0].tolist()
    assert data.test.data.labels.unique(return_counts=True)[1].tolist() == [4, 4, 4]
    again = FilesDataModule(str(data.path), test_size=12, val_size=9, seed=2, split_seed=3)
    again.setup()
    assert torch.equal(again.test.data.images, data.test.data.images)


def test_the_shape_is_known_without_reading_the_images(tmp_path: Path) -> None:
    write(tmp_path, "npy", with_test(grey))
    path = tmp_path / "train_images.npy"
    path.write_bytes(path.read_bytes()[:128])
    assert FilesDataModule(str(tmp_path)).image_shape == (1, 5, 4)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("exact", [True, False])
def test_floats_are_the_numbers_that_the_model_sees(dtype: type, exact: bool, tmp_path: Path) -> None:
    values = (
        (np.arange(60 * 20).reshape(60, 5, 4) % 256 / 255) if exact else np.random.default_rng(0).random((60, 5, 4))
    )
    images: NDArray[Any] = values.astype(dtype)
    data = FilesDataModule(str(write(tmp_path, "npz", {"images": images})), test_size=1, val_size=0)
    data.setup()
    assert data.train is not None
    # A byte takes a quarter of the memory, and becomes the same number.
    kept_as_bytes = exact and dtype is not np.float16
    assert data.train.data.images.dtype == (torch.uint8 if kept_as_bytes else torch.float32)
    found = torch.cat([part[torch.arange(len(part))][0] for part in (data.train, data.test)])
    expected = torch.from_numpy(images.astype(np.float32))[:, None]
    assert {image.numpy().tobytes() for image in found} == {image.numpy().tobytes() for image in expected}


def test_floats_are_binarised_as_bytes_are(tmp_path: Path) -> None:
    grey = np.array([0, 0.1, 0.4999, 0.5, 0.9, 1], np.float32)
    path = write(tmp_path, "npz", {"images": np.tile(grey, (20_000, 2, 1))})
    for binarisation, expected in (("threshold", [0, 0, 0, 1, 1, 1]), ("dynamic", grey.tolist())):
        data = FilesDataModule(str(path), test_size=1, val_size=0, binarisation=binarisation)
        data.setup()
        images, order = data.training(0)
        epochs = []
        for epoch in (0, 1):
            order.set_epoch(epoch)
            epochs.append(images[torch.arange(len(images))][0])
        assert epochs[0].unique().tolist() == [0, 1]
        assert epochs[0].mean((0, 1, 2)).tolist() == pytest.approx(
            expected, abs=0 if binarisation == "threshold" else 0.02
        )
        assert torch.equal(*epochs) == (binarisation == "threshold")


@pytest.mark.parametrize("axes", [(0, 3, 1, 2), (0, 1, 2, 3)])
@pytest.mark.parametrize("memory_map", [True, False])
def test_channels_may_come_first_or_last(axes: tuple[int, ...], memory_map: bool, tmp_path: Path) -> None:
    arrays = colours(60)
    write(tmp_path, "npy", arrays | {"images": arrays["images"].transpose(axes)})
    data = FilesDataModule(str(tmp_path), memory_map, test_size=1, val_size=0)
    assert data.image_shape == (3, 16, 16)
    data.setup()
    images, labels = data.test[torch.arange(1)]
    expected = arrays["images"][arrays["labels"] == int(labels)][0].transpose(2, 0, 1)
    assert np.array_equal((images[0] * 255).round(), expected)


@pytest.mark.parametrize("texts", [["dog", "cat", "ant"], [b"dog", b"cat", b"ant"]])
def test_strings_are_labels_too(texts: list[Any], tmp_path: Path) -> None:
    arrays = with_test(grey)
    arrays["train_labels"], arrays["test_labels"] = (
        np.array(texts * 10),
        np.array(texts[:2] + ["bee"] * 7, type(texts[0])),
    )
    data = FilesDataModule(str(write(tmp_path, "npz", arrays)), val_size=0)
    assert (data.classes, data.class_names) == (4, ("ant", "bee", "cat", "dog"))
    data.setup()
    assert data.train is not None
    assert data.train.data.labels.tolist() == [3, 2, 0] * 10
    assert data.test.data.labels.tolist() == [3, 2] + [1] * 7


@pytest.mark.parametrize("form", ["file", "npy", "npz", "sets"])
def test_labels_may_be_missing(form: str, tmp_path: Path) -> None:
    if form == "sets":
        arrays = {name: array for name, array in with_test(grey).items() if name.endswith("images")}
        path = write(tmp_path, "npz", arrays)
    else:
        path = write(tmp_path, "npz" if form == "npz" else "npy", {"images": grey(39)["images"]})
    data = FilesDataModule(str(path / "images.npy" if form == "file" else path), test_size=9, val_size=5)
    assert (data.classes, data.class_names) == (None, None)
    data.setup()
    assert data.train is not None
    assert [len(part) for part in (data.train, data.val, data.test)] == [25, 5, 9]
    assert all(part.data.labels.isnan().all() for part in (data.train, data.val, data.test))


NO_IMAGES = {
    "bool": grey(40)["images"] > 99,
    "int64": grey(40)["images"].astype(np.int64),
    "bytes in floats": grey(40)["images"].astype(np.float32),
    "-1 to 1": np.linspace(-1, 1, 800).reshape(40, 5, 4),
    "any numbers": np.linspace(-7, 300, 800).reshape(40, 5, 4),
    "big-endian": np.linspace(0, 1, 800).reshape(40, 5, 4).astype(">f4"),
    "flat": np.zeros((40, 784), np.uint8),
    "flat colours": np.zeros((40, 3072), np.uint8),
    "alpha": np.zeros((40, 5, 4, 4), np.uint8),
    "alpha first": np.zeros((40, 4, 6, 5), np.uint8),
    "alpha of floats in bytes": np.zeros((40, 6, 5, 2), np.int32),
    "ambiguous (N, 1, H, 3)": np.zeros((40, 1, 5, 3), np.uint8),
    "ambiguous (N, 3, H, 1)": np.zeros((40, 3, 5, 1), np.uint8),
    "ambiguous (N, 3, H, 3)": np.zeros((40, 3, 5, 3), np.uint8),
}
NO_LABELS = {
    "floats": np.arange(40) % 3 / 1,
    "bool": np.arange(40) % 2 > 0,
    "one-hot": np.eye(3)[np.arange(40) % 3],
    "one-hot integers": np.eye(3, dtype=int)[np.arange(40) % 3],
}


@pytest.mark.parametrize("form", ["npz", "npy"])
@pytest.mark.parametrize(
    ("name", "array"),
    [*[("images", array) for array in NO_IMAGES.values()], *[("labels", array) for array in NO_LABELS.values()]],
    ids=[*NO_IMAGES, *NO_LABELS],
)
def test_what_is_refused_can_be_converted_as_the_error_says(
    name: str, array: NDArray[Any], form: str, tmp_path: Path
) -> None:
    path = write(tmp_path, form, grey(40) | {name: array})

    def read() -> FilesDataModule:
        data = FilesDataModule(str(path), test_size=5, val_size=5)
        data.setup()
        return data

    with pytest.raises(InputError, match=r"^[^\n]*; to convert them: ") as refused:
        read()
    exec(str(refused.value).partition("to convert them: ")[2], {"np": np})
    if name == "labels":
        expected = array.argmax(1) if array.ndim == 2 else array
        assert read().test.data.labels.unique().tolist() == np.unique(expected).tolist()
    else:
        data = read()
        assert len(data.test) == 5
        if array.max() > 0:
            seen = torch.cat([images for images, _ in (*data.test_dataloader(), *data.val_dataloader())])
            assert seen.max() > 0.5


class Hostile:
    """What runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch was_run",)


def change(name: str, how: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(how((folder / name).read_bytes()))


def save(name: str, array: Any) -> Callable[[Path], object]:
    return lambda folder: np.save(folder / f"{name}.npy", array, allow_pickle=True)


def header(name: str, text: str, version: int = 1) -> Callable[[Path], object]:
    """Write an .npy file whose header is any text, followed by 600 bytes."""
    content = text.encode("latin1")
    length = len(content).to_bytes(2 if version == 1 else 4, "little")
    magic = b"\x93NUMPY" + bytes([version, 0])
    return lambda folder: (folder / f"{name}.npy").write_bytes(magic + length + content + bytes(600))


def described(shape: str, descr: str = "'|u1'") -> str:
    return f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}\n"


@pytest.mark.parametrize(
    ("form", "damage", "said"),
    [
        ("npy", header("train_images", described("(10**12, 5, 4)")), "train_images.npy: "),
        ("npy", header("train_images", described("(1000000000000, 5, 4)")), "mmap length is greater than file size"),
        ("npy", header("train_images", described("(-30, 5, 4)")), "holds uint8 of shape (-30, 5, 4)"),
        ("npy", header("train_images", described("(30, 5, 4)", "'|O'")), "holds object of shape (30, 5, 4)"),
        ("npy", header("train_images", described("(30, 5, 4)", "[('a', '|u1')]")), "images must be uint8"),
        ("npy", header("train_images", described("(30, 5, 4)", "{}")), "train_images.npy: "),
        ("npy", header("train_images", described("(30, 5, 4)", "'nonsense'")), "train_images.npy: "),
        ("npy", header("train_images", "exit('evaluated')"), "train_images.npy: "),
        ("npy", header("train_images", "(" * 5000), "train_images.npy: "),
        ("npy", header("train_images", '{\'descr\': """'), "train_images.npy: "),
        ("npy", header("train_images", described("(30, 5, 4)"), version=9), "train_images.npy: "),
        ("npy", header("train_labels", described("(1000000000000,)", "'<i8'")), "holds 1000000000000 labels, but "),
        (
            "npy",
            save("train_images", np.array([Hostile()])),
            "train_images.npy: holds object of shape (1,); images must be",
        ),
        (
            "npy",
            save("test_labels", np.array([Hostile()] * 9)),
            "test_labels.npy: holds object of shape (9,); labels must be",
        ),
        ("npy", change("train_images.npy", lambda old: pickle.dumps(Hostile())), "train_images.npy: "),
        ("npy", change("train_labels.npy", lambda old: b""), "train_labels.npy: "),
        ("npy", change("train_images.npy", lambda old: old[:-50]), "train_images.npy: "),
        (
            "npy",
            save("train_images", np.full((30, 5, 4), 2.0)),
            "train_images.npy: holds values from 2 to 2; images must",
        ),
        ("npy", save("train_images", np.zeros((30, 2, 5, 4), np.uint8)), "(N, H, W, C) with C = 1 or 3"),
        ("npy", save("train_images", np.zeros((0, 5, 4), np.uint8)), "holds uint8 of shape (0, 5, 4)"),
        ("npy", save("train_labels", np.zeros(30)), "train_labels.npy: holds float64 of shape (30,); labels must be"),
        ("npy", save("train_labels", np.zeros((30, 2), int)), "train_labels.npy: holds int64 of shape (30, 2)"),
        ("npy", save("test_labels", np.zeros(8, int)), "test_labels.npy: holds 8 labels, but "),
        ("npy", save("test_images", np.zeros((9, 4, 5), np.uint8)), "images of shape (1, 4, 5), but its image_shape"),
        ("npy", lambda folder: (folder / "test_labels.npy").unlink(), "test_labels missing there; must be a folder"),
        ("npz", change("own.npz", lambda old: old[:-100]), "own.npz: train_images, train_labels, test_images"),
        ("npz", change("own.npz", lambda old: old.replace(b"train_images", b"train_pixels")), "train_images missing"),
        ("npz", change("own.npz", lambda old: old[:300] + b"xxxx" + old[304:]), "own.npz/train_images.npy: Bad CRC"),
        ("npz", lambda folder: (folder / "own.npz").unlink(), "must be a folder or .npz file with train_images"),
        ("idx", change(NAMES[0], lambda old: old[:-1]), "30, 5, 4), 600 bytes, but 599 follow"),
        ("idx", change(NAMES[0], lambda old: b"\x89PNG" + old), "it is not an IDX file of bytes"),
        ("idx", change(NAMES[3], lambda old: old[:7] + b"\x08" + old[8:16]), "holds 8 labels, but "),
        ("idx.gz", change(f"{NAMES[2]}.gz", lambda old: old[:-20]), "Compressed file ended"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(
    form: str, damage: Callable[[Path], object], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path, form, with_test(grey))
    damage(tmp_path)
    data = FilesDataModule(str(path), val_size=3)
    with pytest.raises(InputError) as refused:
        data.setup()
    assert said in str(refused.value)
    assert str(tmp_path) in str(refused.value) or "image_shape" in said
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "was_run").exists()


def test_a_test_set_must_leave_something(tmp_path: Path) -> None:
    data = FilesDataModule(str(write(tmp_path, "npz", grey(30))), test_size=30)
    with pytest.raises(InputError, match=r"^data\.test_size=30: must be a whole number from 1 to 29"):
        data.setup()


OPTIONS = ["data=files", "data.test_size=60", "data.val_size=60", "data.batch_size=16", "trainer=cpu"]


@pytest.fixture
def own(tmp_path: Path) -> str:
    return f"data.path='{write(tmp_path, 'npz', colours(600))}'"


def test_colour_images_of_another_size_go_through_the_commands(own: str, composed: Compose, tmp_path: Path) -> None:
    metrics = train(composed(*OPTIONS, own, "trainer.max_epochs=3", "model.latent_dim=2"))
    run = tmp_path / "run"
    # Colour is all that tells the images apart, so a probe that mixed up labels would be at one in three.
    assert min(metrics[f"probe/{part}_acc"] for part in ("train", "val", "test")) > 0.9
    assert yaml.safe_load((run / ".hydra/config.yaml").read_text())["model"]["image_shape"] is None
    content = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    assert content["hyper_parameters"]["image_shape"] == [3, 16, 16]
    assert {path.name for path in (run / "figures").iterdir()} == {
        f"{name}.png"
        for name in (
            *("curves", "reconstructions", "samples", "traversals", "manifold", "latent_space", "kl_by_dimension"),
        )
    }
    with composing():
        again = evaluate(compose("evaluate", [f"run='{run}'", "trainer=cpu"]))
    assert {name: again[name] for name in again.keys() & metrics.keys()} == {
        name: number for name, number in metrics.items() if name.startswith(("test/", "probe/"))
    }


def test_a_shape_that_is_not_the_datas_is_refused_and_nothing_written(
    own: str, composed: Compose, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"^model\.image_shape=\[1, 28, 28\]: must be \[3, 16, 16\], as in the data"):
        train(composed(*OPTIONS, own, "model.image_shape=[1,28,28]"))
    assert [path for path in (tmp_path / "run").rglob("*") if path.is_file()] == []


def test_the_models_of_a_stack_have_the_datas_shape(own: str, command: Command, tmp_path: Path) -> None:
    options = [*OPTIONS, own, "trainer.max_epochs=1", "sweep.name=s", "callbacks.probe.max_iter=20"]
    done = command("train", "-m", *options, "model.latent_dim=2,3", "hydra/launcher=stacked")
    assert done.returncode == 0, done.stderr
    assert "stack 1 of 1: 2 models" in done.stdout
    for job in ("latent_dim=2", "latent_dim=3"):
        run = tmp_path / "outputs/sweeps/s" / job
        assert (run / "metrics.json").exists()
        content = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
        assert content["hyper_parameters"]["image_shape"] == [3, 16, 16]
