"""Run the checks and benchmarks that need a GPU, each within a time limit, and collect their figures in one table.

    python benchmarks/gpu.py --root DIR --output FOLDER                    # a quarter of an hour at most
    python benchmarks/gpu.py --root DIR --output FOLDER --parts stack      # of the parts below
    python benchmarks/gpu.py --root DIR --output FOLDER --accelerator cpu  # tiny sizes, to try this script out

DIR holds the MNIST files. Each part's output is in ``FOLDER/PART.txt``, and ``FOLDER/gpu.md`` is written anew after
each part, so that what is done is kept if the machine goes. A part that runs out of time is ended, and its figures so
far count. The parts: tests (``pytest -m gpu``); run, run_compiled and run_max (``single_run.py`` for three epochs,
eager and with compile=true and max); stack (``stack.py``); profile and profile_compiled (``step_profile.py``); sweep
(``sweep.py``, stacked and job after job).
"""

import argparse
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Part:
    """A part: its command, the seconds that it may take, and which lines of its output are figures."""

    command: list[str]
    limit: int
    figures: str


def parts(root: Path, gpu: bool) -> dict[str, Part]:
    def script(name: str, *words: str) -> list[str]:
        return [sys.executable, str(HERE / f"{name}.py"), *words]

    device = ["trainer=gpu", "data.device=cuda"] if gpu else ["trainer=cpu"]
    data = ["--root", str(root)]
    epochs = "trainer.max_epochs=3" if gpu else "trainer.max_epochs=2"
    single = script("single_run", *data, "--trainer", "gpu" if gpu else "cpu", epochs, *device[1:])
    profile = script("step_profile", *device)
    timed, phases = (
        r"\d+ threads|\(|vae-train, the whole|the whole",
        r"\d+ steps|\| (optimiser|backward|forward|rest|all)",
    )
    sizes = "12 64 256 512" if gpu else "2 4"
    stack = script("stack", *data, "--accelerator", "gpu" if gpu else "cpu", "--rounds", "1", "--sizes", *sizes.split())
    short = [] if gpu else ["debug=fast"]
    sweep = script("sweep", *data, "--launchers", "stacked", "job after job", "--overrides", *device, *short)
    tests = [sys.executable, "-m", "pytest", "-m", "gpu", "-q", "-p", "no:cacheprovider", str(HERE.parent / "tests")]
    return {
        "tests": Part(tests, 180, r".* in \d|FAILED|ERROR"),
        "run": Part(single, 110, timed),
        "run_compiled": Part([*single, "compile=true"], 110, timed),
        "run_max": Part([*single, "compile=max"], 110, timed),
        "stack": Part(stack, 120, r" *K| *\d"),
        "profile": Part(profile, 60, phases),
        "profile_compiled": Part([*profile, "compile=true"], 60, phases),
        "sweep": Part(sweep, 330, r"stacked|job after job"),
    }


def run(part: Part, output: Path, limit: float, root: Path) -> str:
    """Run a part, its output going to a file, for so many seconds at most; return how it ended."""
    with output.open("w") as file:
        process = subprocess.Popen(
            part.command,
            cwd=HERE.parent,
            env=os.environ | {"VAE_DATA_ROOT": str(root), "PYTHONUNBUFFERED": "1"},
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # a group of its own, which is ended with it
        )
        try:
            process.wait(limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return f"ended after {limit:.0f} s"
    return "done" if process.returncode == 0 else f"status {process.returncode}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True, help="a folder")
    parser.add_argument("--accelerator", choices=["gpu", "cpu"], default="gpu")
    parser.add_argument("--limit", type=float, default=840, help="seconds for all parts together")
    parser.add_argument("--parts", nargs="+", help="tests, run, run_compiled, ...; by default all")
    options = parser.parse_args()
    root, began = options.root.resolve(), time.monotonic()
    found = parts(root, options.accelerator == "gpu")
    if unknown := {*(options.parts or [])} - found.keys():
        parser.error(f"--parts: must be of {', '.join(found)}, not {', '.join(sorted(unknown))}")
    options.output.mkdir(parents=True, exist_ok=True)
    rows = ["| part | status | s | figures |", "| --- | --- | --- | --- |"]
    for name in options.parts or found:
        part, output, start = found[name], options.output / f"{name}.txt", time.monotonic()
        left = options.limit - (start - began)
        status = run(part, output, min(part.limit, left), root) if left > 0 else "not begun"
        lines = list(filter(str.strip, output.read_text().splitlines() if left > 0 else []))
        figures = [line for line in lines if re.match(part.figures, line)] or lines[-1:]
        shown = "<br>".join(line.strip().replace("|", "\\|") for line in figures)
        rows.append(f"| {name} | {status} | {time.monotonic() - start:.0f} | {shown} |")
        (options.output / "gpu.md").write_text("\n".join(rows) + "\n")
        print(rows[-1], flush=True)


if __name__ == "__main__":
    main()
