"""What make does before and while it installs, with programs that stand in for Python and pip."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1]
Make = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")

# A Python that pretends to be another version, or to lack modules, and whose environments hold programs that note how
# they were called. pip fails while the file "offline" exists.
PYTHON = """#!{executable}
import sys
from pathlib import Path

if sys.argv[1] == "-c":
    sys.version_info = {version}
    sys.modules.update(dict.fromkeys({missing}))
    sys.exit(exec(sys.argv[2]))
with open("calls", "a") as calls:
    print("python", *sys.argv[1:], file=calls)
folder = Path(sys.argv[-1]) / "bin"
folder.mkdir(parents=True, exist_ok=True)
(folder / "python").write_text("#!/bin/sh\\n")
(folder / "pip").write_text("#!/bin/sh\\necho pip $* >> calls\\n[ ! -e offline ]\\n")
(folder / "vae-train").write_text("#!/bin/sh\\necho vae-train $* >> calls\\n")
for program in folder.iterdir():
    program.chmod(0o755)
"""
CREATES = "python -m venv --clear .venv"
INSTALLS = "pip install --quiet --editable ."
TRAINS = "vae-train experiment=quickstart"


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """``make("train", version=(3, 12, 0), missing=())``, in a folder with the Makefile and a Python that stands in."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(SOURCE / name, tmp_path)
    shutil.copytree(SOURCE / "scripts", tmp_path / "scripts")

    def run(
        *arguments: str, version: tuple[int, ...] = (3, 12, 0), missing: tuple[str, ...] = ()
    ) -> subprocess.CompletedProcess[str]:
        python = tmp_path / "fake_python"
        python.write_text(PYTHON.format(executable=sys.executable, version=version, missing=missing))
        python.chmod(0o755)
        # make test passes its own variables on.
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("ARGS", "MAKE", "PYTHON"))
        }
        command = ["make", "PYTHON=./fake_python", *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)

    return run


def calls(folder: Path) -> list[str]:
    """The calls of the programs since the last look."""
    noted = (folder / "calls").read_text().splitlines() if (folder / "calls").exists() else []
    (folder / "calls").unlink(missing_ok=True)
    return noted


NAME_ANOTHER = "name another, as in make PYTHON=python3.12"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"version": (3, 10, 13)}, f"must be Python 3.11 or newer, not 3.10; {NAME_ANOTHER}"),
        ({"version": (2, 7, 18)}, f"must be Python 3.11 or newer, not 2.7; {NAME_ANOTHER}"),
        (
            {"missing": ("ensurepip",)},
            "lacks the modules venv and ensurepip; on Debian and Ubuntu: apt install python3.12-venv",
        ),
    ],
)
def test_a_python_that_will_not_do_is_refused_in_one_line_before_anything_is_written(
    options: dict[str, tuple[int, ...]], said: str, make: Make, tmp_path: Path
) -> None:
    done = make("train", **options)
    assert done.returncode == 2
    first, *others = done.stderr.splitlines()
    assert first == f"error: PYTHON=./fake_python: {said}"
    assert all(line.startswith("make: ***") for line in others)
    assert calls(tmp_path) == []
    assert not (tmp_path / ".venv").exists()


def test_a_python_that_does_not_exist_is_refused(make: Make) -> None:
    done = make("train", "PYTHON=python3.99")
    assert done.stderr.splitlines()[0] == (
        "error: PYTHON=python3.99: there is no such program; name a Python, as in make PYTHON=python3.12"
    )


def test_make_says_what_it_installs_and_how_large_it_is_and_installs_once(make: Make, tmp_path: Path) -> None:
    done = make("train")
    assert done.returncode == 0, done.stderr
    first, second, *_ = done.stdout.splitlines()
    assert first == "creating .venv with Python 3.12"
    assert re.fullmatch(r"installing vae-lightning into \.venv \(.*: \d GB to download, \d GB on disk\)", second)
    assert calls(tmp_path) == [CREATES, INSTALLS, TRAINS]
    make("train", "ARGS=seed=1")
    assert calls(tmp_path) == [f"{TRAINS} seed=1"]
    os.utime(tmp_path / "pyproject.toml")
    make("train")
    assert calls(tmp_path) == [INSTALLS, TRAINS]


@pytest.mark.parametrize("complete_before", [False, True])
def test_an_installation_that_failed_begins_anew(complete_before: bool, make: Make, tmp_path: Path) -> None:
    if complete_before:
        make("train")
        os.utime(tmp_path / "pyproject.toml")
    (tmp_path / "offline").touch()
    calls(tmp_path)
    assert make("train").returncode == 2
    assert calls(tmp_path) == [*([] if complete_before else [CREATES]), INSTALLS]
    (tmp_path / "offline").unlink()
    assert make("train").returncode == 0
    assert calls(tmp_path) == [CREATES, INSTALLS, TRAINS]


def test_an_environment_whose_creation_was_cut_off_begins_anew(make: Make, tmp_path: Path) -> None:
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/python").write_text("")
    assert make("train").returncode == 0
    assert calls(tmp_path)[0] == CREATES


def test_the_lowest_python_is_that_of_the_package() -> None:
    lowest = tomllib.loads((SOURCE / "pyproject.toml").read_text())["project"]["requires-python"].removeprefix(">=")
    script = (SOURCE / "scripts/environment.sh").read_text()
    assert f"sys.version_info < ({lowest.replace('.', ', ')})" in script
    assert f"must be Python {lowest} or newer" in script


def test_the_head_of_the_makefile_explains_every_target() -> None:
    text = (SOURCE / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    assert phony is not None
    head = text.partition("\n\n")[0]
    assert [target for target in phony[1].split() if f"make {target} " not in head] == []
