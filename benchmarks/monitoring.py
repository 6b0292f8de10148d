"""Measure the cost of monitoring: the share of a run's time spent on TensorBoard, pictures and the metrics for them.

    python benchmarks/monitoring.py --root DIR
    python benchmarks/monitoring.py --root DIR --runs article --rounds 3

DIR holds the MNIST files. Each run is a single-threaded process that times the functions below from within, so other
load on the machine has little effect; TensorBoard's writing thread is included. All times are processor time. With
``--rounds``, the same command runs that many times alternately with and without all monitoring
(``logger=none callbacks.figures=null callbacks.throughput=null``), as an independent check.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

RUNS = {
    "article": ["experiment=article"],
    "quickstart": ["experiment=quickstart"],
    "stacked": ["-m", "experiment=latent_lr", "hydra/launcher=stacked", "sweep.name=s"],
}
WITHOUT = ["logger=none", "callbacks.figures=null", "callbacks.throughput=null"]
TENSORBOARD = {
    "imports": "TensorBoard, beyond the imports of every run",
    "curves": "TensorBoardLogger: scalars, and its writing thread",
    "start and end": "configuration, layout, HParams",
    "pictures": "pictures and histograms while training",
    "projector": "the projector",
    "images per second": "the callback",
    "gradient norm": "computed, but not logged",
    "active units": "and KL by dimension, computed",
}
BESIDE = {"files": "figures/*.png except the curves"}


def traced() -> None:
    """Run vae-train in this process, and print the seconds of each part as the last line on stderr."""
    from lightning.pytorch.loggers import TensorBoardLogger
    from torch.nn.utils import get_total_norm

    from vae_lightning.callbacks import figures
    from vae_lightning.callbacks.figures import Figures
    from vae_lightning.callbacks.throughput import Throughput
    from vae_lightning.commands import train
    from vae_lightning.models import vae
    from vae_lightning.posteriors.statistics import PosteriorMoments
    from vae_lightning.runs import run as runs

    seconds: defaultdict[str, float] = defaultdict(float)

    class Inside(threading.local):
        def __init__(self) -> None:
            self.parts: list[str] = []  # the parts active in this thread, innermost last

    inside = Inside()

    def timed(part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            inside.parts.append(part)
            began = time.thread_time()
            try:
                return function(*arguments, **named)
            finally:
                took = time.thread_time() - began
                inside.parts.pop()
                seconds[part] += took
                if inside.parts:  # time in an inner part does not count for the outer one
                    seconds[inside.parts[-1]] -= took

        return call

    def time_all(part: str, owner: Any, *names: str) -> None:
        for name in names:
            setattr(owner, name, timed(part, getattr(owner, name)))

    began = time.thread_time()  # Lightning imports TensorBoard when the first run begins
    import tensorboard.summary.writer.event_file_writer as events
    import torch.utils.tensorboard

    seconds["imports"] = time.thread_time() - began
    assert torch.utils.tensorboard

    time_all("curves", TensorBoardLogger, "log_metrics", "save", "finalize")
    time_all("curves", events._AsyncWriterThread, "run")
    time_all("start and end", runs, "show_config", "show_result", "begin_trackers", "end_trackers")
    time_all("pictures", Figures, "on_train_start", "on_train_epoch_end", "on_validation_end")
    time_all("files", Figures, "on_test_end")
    time_all("projector", figures, "show_embedding")
    time_all("images per second", Throughput, "on_train_epoch_start", "on_train_batch_end", "on_train_epoch_end")
    time_all("active units", PosteriorMoments, "add", "result")
    gradient_norm = timed("gradient norm", get_total_norm)
    # A list holds gradients. The check of the weights for divergence passes a generator instead.
    vars(vae)["get_total_norm"] = lambda of: (gradient_norm if isinstance(of, list) else get_total_norm)(of)
    sys.argv.remove("traced")
    try:
        train.main()
    finally:
        print(json.dumps({**seconds, "all": time.process_time()}), file=sys.stderr)


def run(arguments: list[str]) -> tuple[float, float, str]:
    """Return a single-threaded process's wall-clock and processor seconds, and its last line on stderr."""
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile("w+") as errors:
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        errors.seek(0)
        said = errors.read()
    if process.returncode:
        raise SystemExit(said)
    return time.perf_counter() - began, used.ru_utime + used.ru_stime, said.strip().rpartition("\n")[2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--runs", nargs="+", choices=list(RUNS), default=list(RUNS))
    parser.add_argument("--rounds", type=int, default=0)
    options = parser.parse_args()
    for name in options.runs:
        root = [] if name == "quickstart" else [f"data.root={options.root.resolve()}"]
        arguments = [*RUNS[name], "trainer=cpu", *root]
        seconds = json.loads(run([__file__, "traced", *arguments])[2])
        print(f"\n{name}: {seconds['all']:.1f} s of one core")
        for part, what in (TENSORBOARD | BESIDE).items():
            share = seconds.get(part, 0) / seconds["all"]
            print(f"  {part:18}{seconds.get(part, 0):7.2f} s {share:7.2%}   {what}")
        total = sum(seconds.get(part, 0) for part in TENSORBOARD)
        print(f"  {'TensorBoard':18}{total:7.2f} s {total / seconds['all']:7.2%}   all except the files", flush=True)
        command, dearer = ["-m", "vae_lightning.commands.train", *arguments], []
        for _ in range(options.rounds):
            (wall, used, _), (bare_wall, bare, _) = run(command), run([*command, *WITHOUT])
            dearer.append(used / bare - 1)
            print(f"  processor {used:.1f} s, without {bare:.1f}; by the clock {wall:.1f} s, without {bare_wall:.1f}")
        if dearer:
            print(f"  median {statistics.median(dearer):+.2%} of the processor's time", flush=True)


if __name__ == "__main__":
    traced() if "traced" in sys.argv else main()
