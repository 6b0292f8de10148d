"""Atomic writes: a crash at any moment leaves the old file or the new one."""

import errno
import os
from pathlib import Path

import pytest

from vae_lightning.whole_files import write_file


class Crash(BaseException):
    """A crash of the process, which no ``except Exception`` catches."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file that is there already, alone in its folder."""
    (tmp_path / "file.json").write_text("old")
    return tmp_path / "file.json"


def test_the_content_is_on_the_disk_before_it_takes_the_place_of_the_old(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps, fsync, replace = [], os.fsync, os.replace

    def watched_fsync(descriptor: int) -> None:
        steps.append(("fsync", os.fstat(descriptor).st_size, path.read_text()))
        fsync(descriptor)

    def watched_replace(source: Path, target: Path) -> None:
        steps.append(("replace", source.stat().st_size, path.read_text()))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "replace", watched_replace)
    write_file(path, "the new")
    assert steps == [("fsync", 7, "old"), ("replace", 7, "old")]
    assert path.read_text() == "the new"
    assert [*path.parent.iterdir()] == [path]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_crash_in_the_middle_leaves_the_old_content(call: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> None:
        raise Crash

    monkeypatch.setattr(os, call, crash)
    with pytest.raises(Crash):
        write_file(path, "the new")
    assert path.read_text() == "old"


def test_a_full_disk_leaves_the_old_content_and_nothing_else(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_file(path, "the new")
    assert path.read_text() == "old"
    assert [*path.parent.iterdir()] == [path]


def test_two_writers_of_one_file_do_not_interfere(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsync = os.fsync

    def interrupted(descriptor: int) -> None:
        monkeypatch.setattr(os, "fsync", fsync)
        write_file(path, "the other's")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", interrupted)
    write_file(path, "the new")
    assert path.read_text() == "the new"
    assert [*path.parent.iterdir()] == [path]
