"""Time ``vae-train`` up to the first optimiser step, phase by phase, and its imports before and after that step.

    python benchmarks/start_up.py

Each round runs, in turn: a short ``vae-train data=mnist_5k`` that records when each phase ends, ``--help``, a value
that is refused, and bare imports of torch and Lightning for comparison. One more run with Python's ``-X importtime``,
which slows it down, then gives the time of each library's own modules. ``--help`` and the refused value must not import
torch.
"""

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from itertools import pairwise
from typing import Any

TRAINING = [__file__, "traced", "data=mnist_5k", "trainer=cpu", "trainer.max_epochs=1"]
PHASES = {
    "checked": "interpreter, Hydra, checks",
    "imported": "imports: Lightning, torch",
    "built": "building the objects",
    "read": "reading the data",
    "step": "to the first optimiser step",
    "returned": "epoch, test, probe, pictures",
    "ended": "the interpreter's end",
}
LIGHT = {f"vae-train {word}": ["-m", "vae_lightning.commands.train", word] for word in ("--help", "model.latent_dim=0")}
BARE = {f"import {name}": ["-c", f"import {name}"] for name in ("torch", "lightning.pytorch")}


def traced() -> None:
    """Run vae-train in this process, and print a line on stderr at the end of each phase."""
    from vae_lightning.commands import train
    from vae_lightning.runs import warnings

    def stamp(name: str) -> None:
        print("phase", name, time.time(), file=sys.stderr, flush=True)

    class Watch:  # a finder that finds nothing, but notices the import of Lightning
        def find_spec(self, name: str, path: object = None, target: object = None) -> None:
            if name == "lightning":
                sys.meta_path.remove(self)
                stamp("checked")

    def imported() -> None:
        from torch.optim.optimizer import register_optimizer_step_pre_hook

        from vae_lightning import MNIST5kDataModule

        def timed_read(self: MNIST5kDataModule) -> Any:
            stamp("built")
            images = read(self)
            stamp("read")
            return images

        def step(*_: object) -> None:
            stamp("step")
            hook.remove()

        read, MNIST5kDataModule.read = MNIST5kDataModule.read, timed_read  # type: ignore[method-assign]
        hook = register_optimizer_step_pre_hook(step)
        stamp("imported")
        filtered()

    # The first of our functions that a run calls after the imports.
    filtered, warnings.filter_warnings = warnings.filter_warnings, imported
    sys.meta_path.insert(0, Watch())
    sys.argv.remove("traced")
    train.main()
    stamp("returned")


def run(arguments: list[str]) -> tuple[float, float, list[str]]:
    """Run Python with these arguments; return when it began and ended, and the lines of its stderr."""
    with tempfile.TemporaryDirectory() as folder:
        began = time.time()
        done = subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True)
        ended = time.time()
    if done.returncode != (2 if "model.latent_dim=0" in arguments else 0):
        raise SystemExit(done.stderr)
    return began, ended, done.stderr.splitlines()


def imports(lines: list[str]) -> Counter[str]:
    """Return the microseconds of each library's own modules."""
    found: Counter[str] = Counter()
    for own, module in re.findall(r"import time: +(\d+) \|.*\| +(\w+)", "\n".join(lines)):
        found[module] += int(own)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    for name, command in LIGHT.items():
        assert "torch" not in imports(run(["-X", "importtime", *command])[2]), f"{name} imports torch"
    times: defaultdict[str, list[float]] = defaultdict(list)
    for _ in range(rounds):
        began, ended, lines = run(TRAINING)
        stamps = [began, *(float(line.split()[2]) for line in lines if line.startswith("phase ")), ended]
        for name, (start, end) in zip(PHASES.values(), pairwise(stamps), strict=True):
            times[name].append(end - start)
        times["first step, in all"].append(stamps[5] - began)
        times["command, in all"].append(ended - began)
        for name, command in (LIGHT | BARE).items():
            began, ended, _ = run(command)
            times[name].append(ended - began)
    print(f"seconds, median of {rounds} (least to most)")
    for name, values in times.items():
        print(f"{name:32}{statistics.median(values):6.2f}  ({min(values):.2f} to {max(values):.2f})")
    lines = run(["-X", "importtime", *TRAINING])[2]
    step = next(place for place, line in enumerate(lines) if line.startswith("phase step"))
    before, after = imports(lines[:step]), imports(lines[step:])
    print(f"\n{'seconds importing':32}{'before':>8}{'after the first step':>24}")
    for name, _ in (before + after).most_common(10):
        print(f"{name:32}{before[name] / 1e6:8.2f}{after[name] / 1e6:24.2f}")
    print(f"{'in all':32}{before.total() / 1e6:8.2f}{after.total() / 1e6:24.2f}")


if __name__ == "__main__":
    traced() if "traced" in sys.argv else main()
