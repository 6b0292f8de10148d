"""Time ``vae-train`` up to the first optimiser step, phase by phase, and its imports before and after that step.

    python benchmarks/start_up.py
    python benchmarks/start_up.py --against DIR          another source tree in turn, such as a git worktree

Each round runs, in turn: a short ``vae-train data=mnist_5k`` that records when each phase ends; every command's
``--help``, a completion and a value that is refused; and bare imports of torch and Lightning for comparison. One more
run with Python's ``-X importtime``, which slows it down, then gives the time of each library's own modules. The short
commands must not import torch.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

OURS = Path(__file__).parents[1]

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
SHORT = {
    **{f"vae-{name} --help": [module, "--help"] for name, module in {"train": "train", "eval": "evaluate"}.items()},
    **{f"vae-{name} --help": [name, "--help"] for name in ("export", "report")},
    "vae-train, completion": ["train", "-sc", "query=bash"],
    "vae-train model.latent_dim=0": ["train", "model.latent_dim=0"],
}
LIGHT = {name: ["-m", f"vae_lightning.commands.{module}", *words] for name, (module, *words) in SHORT.items()}
BARE = {f"import {name}": ["-c", f"import {name}"] for name in ("torch", "lightning.pytorch")}


def traced() -> None:
    """Run vae-train in this process, and print a line on stderr at the end of each phase."""
    from vae_lightning.commands import scripts
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
    scripts.train()
    stamp("returned")


def run(arguments: list[str], tree: Path = OURS) -> tuple[float, float, list[str]]:
    """Run Python with these arguments and a source tree; return when it began and ended, and its lines on stderr."""
    path = os.pathsep.join(map(str, (tree, tree / "vae_lightning/_plugins")))
    variables = {**os.environ, "PYTHONPATH": path, "COMP_LINE": "vae-train "}
    with tempfile.TemporaryDirectory() as folder:
        began = time.time()
        done = subprocess.run([sys.executable, *arguments], cwd=folder, env=variables, capture_output=True, text=True)
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
    parser.add_argument("--against", type=Path, metavar="DIR", help="a source tree to run in turn with this one")
    options = parser.parse_args()
    trees = [OURS, *([options.against.resolve()] if options.against else [])]
    for name, command in LIGHT.items():
        assert "torch" not in imports(run(["-X", "importtime", *command])[2]), f"{name} imports torch"
    times: dict[Path, defaultdict[str, list[float]]] = {tree: defaultdict(list) for tree in trees}
    for _ in range(options.rounds):
        for tree in trees:
            began, ended, lines = run(TRAINING, tree)
            stamps = [began, *(float(line.split()[2]) for line in lines if line.startswith("phase ")), ended]
            for name, (start, end) in zip(PHASES.values(), pairwise(stamps), strict=True):
                times[tree][name].append(end - start)
            times[tree]["first step, in all"].append(stamps[5] - began)
            times[tree]["command, in all"].append(ended - began)
        for name, command in (LIGHT | BARE).items():
            for tree in trees:
                began, ended, _ = run(command, tree)
                times[tree][name].append(ended - began)
    print(f"seconds, least, median and most of {options.rounds}")
    for tree in trees:
        print(f"\n{tree}")
        for name, values in times[tree].items():
            shown = "".join(f"{value:8.2f}" for value in (min(values), statistics.median(values), max(values)))
            then = statistics.median(times[trees[-1]][name])
            ratio = f"   {statistics.median(values) / then:.2f} of the other's median" if tree != trees[-1] else ""
            print(f"{name:32}{shown}{ratio}")
    lines = run(["-X", "importtime", *TRAINING])[2]
    step = next(place for place, line in enumerate(lines) if line.startswith("phase step"))
    before, after = imports(lines[:step]), imports(lines[step:])
    print(f"\n{'seconds importing':32}{'before':>8}{'after the first step':>24}")
    for name, _ in (before + after).most_common(10):
        print(f"{name:32}{before[name] / 1e6:8.2f}{after[name] / 1e6:24.2f}")
    print(f"{'in all':32}{before.total() / 1e6:8.2f}{after.total() / 1e6:24.2f}")


if __name__ == "__main__":
    traced() if "traced" in sys.argv else main()
