"""A release: the wheel, installed elsewhere, works from any directory with a user's own configurations."""

import os
import runpy
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

RELEASE = Path(__file__).parents[1] / "scripts/release.py"


@pytest.mark.slow
def test_a_release_is_built_and_works_elsewhere(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, RELEASE, "--dist", tmp_path / "dist", "--packages", sysconfig.get_path("purelib")],
        env={**os.environ, "VAE_DATA_ROOT": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert sorted(path.suffix for path in (tmp_path / "dist").iterdir()) == [".gz", ".whl"]
    *_, last = done.stdout.partition(" is ready. Next:")[2].splitlines()
    assert last.endswith("the next version in pyproject.toml")


def test_wheels_are_compared_by_their_files(tmp_path: Path) -> None:
    for name, content in (("one", "1"), ("same", "1"), ("other", "2")):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("file", content)
    contents = runpy.run_path(str(RELEASE))["contents"]
    one, same, other = (contents(tmp_path / name) for name in ("one", "same", "other"))
    assert one == same != other


def test_a_step_that_fails_ends_the_release_with_its_output() -> None:
    run = runpy.run_path(str(RELEASE))["run"]
    with pytest.raises(SystemExit, match=r"(?s)^the reason.*error: sh -c .* failed with status 3$"):
        run("sh", "-c", "echo the reason; exit 3")
