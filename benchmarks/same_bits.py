"""Show that a change of the code left every number as it was.

    python benchmarks/same_bits.py BEFORE
    python benchmarks/same_bits.py BEFORE --only iwae

BEFORE is a checkout of an older commit (``git worktree add BEFORE COMMIT``); the newer code is the checkout that this
file stands in, or ``--after DIR``. Both train the same short runs on this machine, one thread a process: every
objective, estimator, likelihood, network, schedule and binarisation alone, most of them in stacks, some on two
processes. Compared are ``metrics.json``, all but times, and the weights and optimiser states in
``checkpoints/last.ckpt``, bit by bit. Each run has a line: ``same``, or what differs; if any differs, the status is 1.

Neither checkout needs to be installed: dependencies are those of the Python that runs this file. The runs of BEFORE are
kept in ``--work``, a folder of the temporary directory by default, and used again until BEFORE, the runs below or torch
changes.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

# What makes a run short. In a name without a dot the value is a file of that folder of conf.
COMMON = [
    *("data=mnist_5k", "data.val_size=3500", "data.batch_size=32", "data.block_size=8"),
    *("trainer=cpu", "trainer.max_epochs=2", "model.widths=[32]", "model.latent_dim=4"),
    *("logger=none", "callbacks.figures=null", "callbacks.curves=null", "callbacks.best_checkpoint=null"),
    "callbacks.probe.max_iter=50",
]

# Each run by its name. It has 32 optimiser steps, which the schedules are made for.
RUNS = {
    "elbo": [],
    "beta": ["objective=beta"],
    "beta_warmup": ["objective=beta_warmup", "objective.schedule.steps=20", "objective.schedule.start=0.1"],
    "beta_cyclical": ["objective=beta_cyclical", "objective.schedule.period=12"],
    "free_bits": ["objective=free_bits"],
    "free_bits_baseline": ["objective=free_bits", "estimator=score_function_baseline"],
    "iwae": ["objective=iwae"],
    "iwae_plain_gradient": ["objective=iwae", "objective.doubly_reparameterized=false"],
    "no_gradient": ["estimator=none"],
    "score_function": ["estimator=score_function"],
    "score_function_baseline": ["estimator=score_function_baseline"],
    "continuous_bernoulli": ["likelihood=continuous_bernoulli"],
    "gaussian": ["likelihood=gaussian"],
    "conv": ["model=conv", "model.widths=[128]", "model.encoder.channels=[4,8]", "model.decoder.channels=[8,4]"],
    "residual": [
        "model=residual",
        "model.widths=[128]",
        "model.encoder.channels=[4,8]",
        "model.decoder.channels=[8,4]",
    ],
    "layers": ["model.widths=[24,16]", "model.decoder_widths=[12]", "model.activation=tanh"],
    "cosine": ["schedule=cosine", "schedule.steps=28", "schedule.warmup_steps=5", "schedule.end=0.1"],
    "staircase": ["schedule=staircase", "schedule.at=[10,20]"],
    "dynamic": ["data.binarisation=dynamic"],
    "threshold": ["data.binarisation=threshold"],
    "adamw": ["optimizer=adamw"],
    "double": ["trainer.precision=64-true"],
    "bfloat16": ["trainer.precision=bf16-mixed"],
    "one_batch_a_block": ["data.block_size=1"],
    "probe": ["callbacks.probe.every_n_epochs=1", "callbacks.probe.C=[0.1,1]", "callbacks.probe.standardize=true"],
    "gradients": [
        "callbacks=default_and_gradients",
        *(f"callbacks.gradients.{name}=20" for name in ("images", "estimates", "references")),
    ],
    "together": [
        *("objective=beta_warmup", "objective.schedule.steps=20", "estimator=score_function_baseline"),
        *("likelihood=continuous_bernoulli", "schedule=cosine", "schedule.steps=28", "data.binarisation=dynamic"),
    ],
}


@dataclass(frozen=True)
class Way:
    """A way to train: the names of the runs, what is added to their command, and what it sweeps over."""

    runs: Sequence[str]
    options: Sequence[str]
    axes: Mapping[str, Sequence[str]]

    def jobs(self, run: str) -> list[str]:
        """The folders of a run's jobs."""
        short = [axis.rpartition(".")[2] for axis in self.axes]
        return [
            ",".join([f"experiment={run}", *(f"{name}={value}" for name, value in zip(short, values, strict=True))])
            for values in product(*self.axes.values())
        ]


WAYS = {
    "alone": Way([run for run in RUNS if run != "free_bits_baseline"], [], {}),
    "stacked": Way(
        [  # each its own stack, but adamw shares one with elbo
            *("elbo", "beta", "beta_warmup", "beta_cyclical", "free_bits", "iwae", "no_gradient", "score_function"),
            *("score_function_baseline", "continuous_bernoulli", "gaussian", "conv", "adamw", "together"),
        ],
        ["hydra/launcher=stacked", "seed=${model.latent_dim}"],
        {"model.latent_dim": ["2", "3"], "optimizer.lr": ["0.001", "0.003"]},
    ),
    "processes": Way(["elbo", "free_bits_baseline"], ["trainer=ddp_cpu"], {}),
}

# Printed by a checkout's Python: where it finds the package and its plugins for Hydra.
PLACES = """
import pathlib, hydra_plugins, vae_lightning
print(vae_lightning.__file__)
for folder in hydra_plugins.__path__:
    for plugin in pathlib.Path(folder).glob("vae_*"):
        print(plugin)
"""


@dataclass(frozen=True)
class Side:
    """One of the two: a checkout, and the folder for its runs."""

    checkout: Path
    folder: Path

    def python(self, *arguments: str, log: Path | None = None) -> subprocess.CompletedProcess[str]:
        """Run Python with the checkout's code and nothing of an editable install, for its plugins would come along."""
        build = tomllib.loads((self.checkout / "pyproject.toml").read_text())["tool"]["hatch"]["build"]
        own = [str(self.checkout / folder) for folder in build["dev-mode-dirs"]]
        path = os.pathsep.join([*own, *(folder for folder in sys.path if folder.endswith("-packages"))])
        done = subprocess.run(
            [sys.executable, "-S", *arguments],  # -S: without site, which brings the editable install
            cwd=self.folder,
            env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if log is not None:
            log.write_text(done.stdout)
        return done

    def check(self) -> None:
        """Make sure that it is the checkout's code that runs."""
        self.folder.mkdir(parents=True, exist_ok=True)
        done = self.python("-c", PLACES)
        places = done.stdout.splitlines()
        if done.returncode or not all(Path(place).is_relative_to(self.checkout) for place in places):
            sys.exit(f"{self.checkout}: other code would run\n{done.stdout}")

    def job(self, way: str, job: str) -> Path:
        """The run directory of a job."""
        return self.folder / "outputs/sweeps" / way / job

    def train(self, way: str, runs: Sequence[str]) -> None:
        """Train those runs that are not there, in one process."""
        missing = [
            run
            for run in runs
            if any(not (self.job(way, job) / "metrics.json").exists() for job in WAYS[way].jobs(run))
        ]
        if not missing:
            return
        for run in missing:
            for job in WAYS[way].jobs(run):  # all of a stack anew, for its size may matter
                shutil.rmtree(self.job(way, job), ignore_errors=True)
            write_experiment(self.folder / f"conf/experiment/{run}.yaml", [*COMMON, *RUNS[run]])
        main = tomllib.loads((self.checkout / "pyproject.toml").read_text())["project"]["scripts"]["vae-train"]
        module, _, function = main.partition(":")
        self.python(
            *("-c", f"from {module} import {function}; {function}()"),
            *("-m", f"hydra.searchpath=['file://{self.folder / 'conf'}']"),
            f"experiment=choice({','.join(missing)})",  # a choice, since one alone would not name the folder
            *(f"{axis}={','.join(values)}" for axis, values in WAYS[way].axes.items()),
            *WAYS[way].options,
            f"sweep.name={way}",
            log=self.folder / f"{way}.log",
        )


def write_experiment(path: Path, overrides: Sequence[str]) -> None:
    """Write overrides as a file of ``conf/experiment``."""
    choices = dict(override.split("=") for override in overrides if "." not in override.partition("=")[0])
    values = OmegaConf.from_dotlist([override for override in overrides if "." in override.partition("=")[0]])
    content = OmegaConf.create({"defaults": [{f"override /{group}": name} for group, name in choices.items()]})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("# @package _global_\n" + OmegaConf.to_yaml(OmegaConf.merge(content, values)))


def kept_under(before: Path) -> str:
    """The name of the folder for the runs of BEFORE: its commit, and a digest of what else they depend on."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short=12", "HEAD"], cwd=before, check=True, capture_output=True, text=True
    )
    digest = hashlib.sha256(repr((COMMON, RUNS, WAYS, sys.version, torch.__version__)).encode())
    for file in sorted(file for folder in ("vae_lightning", "conf") for file in (before / folder).rglob("*")):
        if file.suffix in (".py", ".yaml"):  # as they are now, for something may not be committed
            digest.update(file.read_bytes())
    return f"{commit.stdout.strip()}-{digest.hexdigest()[:8]}"


def numbers(run: Path) -> dict[str, Any]:
    """A run's numbers by name: plain values as they are, tensors as type, shape and bytes."""
    metrics = json.loads((run / "metrics.json").read_text())
    times = {
        "fit_seconds",
        "total_seconds",
        *(name for name in metrics if name.startswith("speed/") or name.endswith("/seconds")),
    }
    checkpoint = torch.load(run / "checkpoints/last.ckpt", weights_only=True)
    parts = {part: checkpoint[part] for part in ("state_dict", "optimizer_states")}
    return {name: value for name, value in metrics.items() if name not in times} | dict(leaves(parts))


def leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping | list | tuple):
        for key, child in node.items() if isinstance(node, Mapping) else enumerate(node):
            yield from leaves(child, f"{path}.{key}".lstrip("."))
    elif isinstance(node, torch.Tensor):
        yield path, (node.dtype, tuple(node.shape), node.reshape(-1).view(torch.uint8).numpy().tobytes())
    else:
        yield path, node


def difference(before: Path, after: Path) -> str | None:
    """What differs between two runs, in one line; None if nothing does."""
    for run in (before, after):
        if not (run / "metrics.json").exists():
            return f"not complete, see {run.parents[3] / run.parent.name}.log"
    left, right = numbers(before), numbers(after)
    values = {name: (left.get(name, "not there"), right.get(name, "not there")) for name in left | right}
    differing = {name: pair for name, pair in values.items() if repr(pair[0]) != repr(pair[1])}  # repr: nan is nan
    if not differing:
        return None
    shown = [
        name if isinstance(old, tuple) or isinstance(new, tuple) else f"{name} {old}, now {new}"
        for name, (old, new) in islice(differing.items(), 3)
    ]
    return f"{len(differing)} of {len(values)} numbers and tensors: {'; '.join(shown)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", metavar="BEFORE", type=Path)
    parser.add_argument("--after", metavar="DIR", type=Path, default=Path(__file__).parents[1])
    parser.add_argument("--work", metavar="DIR", type=Path, default=Path(tempfile.gettempdir()) / "vae_same_bits")
    parser.add_argument("--only", metavar="SUBSTRING", default="", help='of "stacked iwae" and the like')
    options = parser.parse_args()
    chosen = {way: [run for run in WAYS[way].runs if options.only in f"{way} {run}"] for way in WAYS}
    if not any(chosen.values()):
        parser.error(f"--only {options.only}: no run's name holds it")
    work = options.work.resolve()
    before = Side(options.before.resolve(), work / "before" / kept_under(options.before))
    after = Side(options.after.resolve(), work / "after")
    shutil.rmtree(after.folder, ignore_errors=True)
    for side in (before, after):
        side.check()
    print(f"before: {before.checkout}, runs in {before.folder}\nafter:  {after.checkout}, runs in {after.folder}")
    differing = 0
    with ThreadPoolExecutor(max_workers=2) as pool:
        training = {
            way: [pool.submit(side.train, way, runs) for side in (before, after)] for way, runs in chosen.items()
        }
        for way, runs in chosen.items():
            for side_training in training[way]:
                side_training.result()
            for job in (job for run in runs for job in WAYS[way].jobs(run)):
                found = difference(before.job(way, job), after.job(way, job))
                differing += found is not None
                line = f"{'DIFFERS' if found else 'same':8}{way:10} {job.removeprefix('experiment=')}"
                print(f"{line}: {found}" if found else line, flush=True)
    print(f"{differing} runs differ" if differing else "all runs are the same")
    sys.exit(bool(differing))


if __name__ == "__main__":
    main()
