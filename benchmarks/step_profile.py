"""Show where the time of a training step goes: forward, backward, optimiser, the rest, and the dearest operations.

    python benchmarks/step_profile.py                                           # the default model, on the CPU
    python benchmarks/step_profile.py trainer=gpu data.device=cuda compile=true

``vae-train`` trains on the 5,000 digits of ``data=mnist_5k``, and torch's profiler watches its last epoch. Under a
profiler a step takes longer, so shares count, not times. On a GPU, the phases are what the processor does while it
launches kernels, and one more table has the kernels' own times. In a compiled step, an operation may be a whole graph.
"""

import argparse
import os
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from process import TRAIN, measure

EPOCHS = 4
DEAREST = 12


def table(title: str, steps: int, milliseconds: Iterable[tuple[str, float]], whole: float) -> str:
    rows = [f"| {title} | ms a step | share |", "| --- | --- | --- |"]
    rows += [f"| {name} | {each / steps:.3f} | {each / whole:.1%} |" for name, each in milliseconds]
    return "\n".join(rows)


def tables(events: Any, steps: int, whole: float) -> str:
    """Return the tables of a profile.

    Arguments:
        events: the profiler's events.
        steps: the number of steps.
        whole: the milliseconds by the clock.
    """
    optimiser = [event for event in events if event.name.startswith("Optimizer.step#")]
    backward = [event for event in events if event.name.startswith("autograd::engine::evaluate_function")]
    phases = {
        "optimiser": sum(event.cpu_time_total for event in optimiser) / 1e3,
        "backward": sum(event.cpu_time_total for event in backward if event.cpu_parent is None) / 1e3,
    }
    tops = [event for event in events if event.cpu_parent is None and str(event.device_type).endswith("CPU")]
    others = sum(event.cpu_time_total for event in tops) / 1e3 - sum(phases.values())
    phases |= {"forward, data, sums": others, "rest: Python between operations": whole - others - sum(phases.values())}
    operations: Counter[str] = Counter()
    kernels: Counter[str] = Counter()
    for event in events:
        if str(event.device_type).endswith("CPU"):
            operations[event.name] += event.self_cpu_time_total / 1e3
        else:
            kernels[event.name] += event.device_time_total / 1e3
    found = [
        f"{steps} steps of {whole / steps:.3f} ms",
        table("phase", steps, phases.items(), whole),
        table("operation, without those within it", steps, operations.most_common(DEAREST), whole),
    ]
    if kernels:
        found.append(table("kernel", steps, [("all", kernels.total()), *kernels.most_common(DEAREST)], whole))
    return "\n\n".join(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", help="of vae-train, e.g. compile=true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "profile.md"
        paths = os.pathsep.join([str(Path(__file__).resolve().parent), *filter(None, [os.environ.get("PYTHONPATH")])])
        bare = ["data=mnist_5k", "trainer=cpu", "logger=none", "callbacks.figures=null", "hydra.run.dir=run"]
        profiled = f"+callbacks.profile={{_target_:epoch_profile.EpochProfile,epoch:{EPOCHS},result:'{result}'}}"
        command = [*TRAIN, *bare, f"trainer.max_epochs={EPOCHS}", profiled, *options.overrides]
        measure(command, Path(folder), {"PYTHONPATH": paths})
        print(result.read_text())


if __name__ == "__main__":
    main()
