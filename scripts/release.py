"""Build a release and try it out as a user would, in a bare environment and a folder of its own.

python scripts/release.py

Writes the source distribution and the wheel to dist. Exits with status 1 at the first step that fails.
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import tomllib
import venv
import zipfile
from pathlib import Path

SOURCE = Path(__file__).parents[1]
VERSION = tomllib.loads((SOURCE / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]

EXPERIMENT = "# @package _global_\nmodel:\n  latent_dim: 3\n"
# What a user does first. The second run has its configuration from a folder of the user's.
COMMANDS = [
    "vae-train --help",
    "vae-train data=mnist_5k debug=fast hydra.run.dir=first",
    "vae-train --config-dir own experiment=mine data=mnist_5k debug=fast hydra.run.dir=second",
    "vae-eval first samples=10 images=20",
]
NEXT = f"""
{VERSION} is ready. Next:
  1. CHANGELOG.md has a section on {VERSION}, and everything is committed and pushed
  2. git tag --annotate v{VERSION} --message v{VERSION}
  3. git push origin v{VERSION}      the workflow release.yml then publishes it
  4. the next version in pyproject.toml"""


def main() -> None:
    """Build, check, install, run, and say what comes next."""
    parser = argparse.ArgumentParser(description="Build a release and try it out in a bare environment.")
    parser.add_argument("--dist", type=Path, default=SOURCE / "dist", help="folder of the release; it is emptied first")
    parser.add_argument(
        "--packages", type=Path, help="a site-packages folder with the dependencies, to be used instead of a download"
    )
    given = parser.parse_args()
    os.environ.pop("PIP_CONSTRAINT", None)  # make sets it; users get the newest versions that pyproject.toml allows
    with tempfile.TemporaryDirectory() as scratch:
        wheel = build(given.dist, Path(scratch))
        try_out(wheel, Path(scratch), given.packages)
    print(NEXT)


def build(dist: Path, scratch: Path) -> Path:
    """Build the source distribution, from it the wheel, and return the wheel; both have valid descriptions.

    The source distribution is complete: the checkout gives the same wheel.
    """
    shutil.rmtree(dist, ignore_errors=True)
    run(sys.executable, "-m", "build", "--outdir", dist, SOURCE)
    run(sys.executable, "-m", "twine", "check", "--strict", *dist.iterdir())
    run(sys.executable, "-m", "build", "--wheel", "--outdir", scratch / "from_checkout", SOURCE)
    (wheel,), (other,) = dist.glob("*.whl"), (scratch / "from_checkout").glob("*.whl")
    if differing := sorted({name for name, _ in contents(wheel) ^ contents(other)}):
        sys.exit(f"error: the source distribution lacks or changes {', '.join(differing)}")
    return wheel


def contents(wheel: Path) -> set[tuple[str, int]]:
    """Return the names and checksums of a wheel's files."""
    with zipfile.ZipFile(wheel) as archive:
        return {(file.filename, file.CRC) for file in archive.infolist()}


def try_out(wheel: Path, scratch: Path, packages: Path | None) -> None:
    """Install the wheel into an environment that has nothing else, and run the commands in another folder."""
    environment, work = scratch / "environment", scratch / "work"
    venv.create(environment, with_pip=True)
    if packages is not None:
        (site,) = environment.glob("lib/python*/site-packages")
        (site / "beneath.pth").write_text(f"import site; site.addsitedir({str(packages)!r})", encoding="utf-8")
    options = [] if packages is None else ["--no-deps"]
    run(environment / "bin/pip", "install", "--quiet", *options, wheel)
    (work / "own/experiment").mkdir(parents=True)
    (work / "own/experiment/mine.yaml").write_text(EXPERIMENT, encoding="utf-8")
    for command in COMMANDS:
        name, *arguments = shlex.split(command)
        run(environment / "bin" / name, *arguments, folder=work)
    for file in ("first/metrics.json", "first/evaluation.json", "second/metrics.json"):
        if not (work / file).is_file():
            sys.exit(f"error: the commands have not written {file}")


def run(*command: str | Path, folder: Path = SOURCE) -> None:
    """Run a command, and show its output only if it fails."""
    shown = shlex.join(map(str, command))
    print(shown, flush=True)
    done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        sys.exit(f"{done.stdout}\nerror: {shown} failed with status {done.returncode}")


if __name__ == "__main__":
    main()
