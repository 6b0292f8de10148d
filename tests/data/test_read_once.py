"""Arrays that are kept in memory: as long as their files are the same and they are small enough."""

import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from vae_lightning.data import read_once as module
from vae_lightning.data.read_once import read_once


class Reader:
    """Reads the bytes of a file, and counts how often."""

    count = 0

    def __call__(self, path: Path) -> NDArray[np.uint8]:
        self.count += 1
        return np.frombuffer(bytearray(path.read_bytes()), np.uint8)


@pytest.fixture(autouse=True)
def limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LIMIT", 10)
    monkeypatch.setattr(module, "_kept", {})


def test_a_file_is_read_again_only_if_it_has_changed(tmp_path: Path) -> None:
    file, read = tmp_path / "file", Reader()
    file.write_bytes(b"abc")
    first = read_once(file, read)
    first[:] = 0  # what is kept does not change with what one run does
    assert read_once(file, read).tobytes() == b"abc"
    assert read.count == 1
    file.write_bytes(b"abcd")
    assert read_once(file, read).tobytes() == b"abcd"
    file.write_bytes(b"ABCD")
    os.utime(file, ns=(1, 1))
    assert read_once(file, read).tobytes() == b"ABCD"
    assert read.count == 3
    read_once(file, read, "another shape")
    assert read.count == 4


def test_only_the_latest_small_arrays_are_kept(tmp_path: Path) -> None:
    files, read = {name: tmp_path / name for name in "abc"}, Reader()
    for name, file in files.items():
        file.write_bytes(4 * name.encode())
    for name in "abcbc":  # a is dropped for c
        assert read_once(files[name], read).tobytes() == 4 * name.encode()
    assert read.count == 3
    read_once(files["a"], read)
    assert read.count == 4
    files["a"].write_bytes(11 * b"a")
    for _ in range(2):  # too large
        assert read_once(files["a"], read).tobytes() == 11 * b"a"
    assert read.count == 6
    read_once(files["c"], read)
    assert read.count == 6
