"""Compare vae-train with what a user would take instead: time of an epoch and of a sweep, and memory.

    python benchmarks/peers.py --root DIR
    python benchmarks/peers.py --root DIR --epochs 2 --ways pythae vae-train
    python benchmarks/peers.py --root DIR --whole                # the peers' sweeps too run whole: an hour

DIR holds the MNIST files, gzipped. All train the same model on all 60,000 images in batches of 64 with Adam:

lightning   a LightningModule and torchvision's DataLoader, as lightning-hydra-template has them, under Hydra's own
            launcher (peer_lightning.py)
example     PyTorch's own example of a VAE (peer_example.py)
pythae      pythae 0.1.2, its VAE and TrainingPipeline (peer_pythae.py)
article     the script of the article that the reference experiment reproduces, without its probe (article.py)
plain       a plain loop over images in memory with fused Adam, without test, files or pictures (article.py)
vae-train   ``vae-train experiment=article``, with test, probe, curves, checkpoints and pictures
stacked     ``vae-train -m experiment=latent_lr hydra/launcher=stacked``, likewise, and the report

Each runs in a process of its own, one after another. "s an epoch" is the median time of the training steps of an epoch
after the first, of one model; of a stack, the line of an epoch divided by the number of models. "s a sweep" is the time
of the commands for all jobs, with start-up and with everything that each does before, between and after the epochs:
lightning, plain and stacked train all jobs in one process, the others one job a process. A peer's sweep is computed
from one job, or from two jobs in one process, unless ``--whole`` is given; stacked always runs whole. "MiB" is the
largest resident memory of a process, in training one or two jobs or, for stacked, all of them.

pythae is installed from the registry into ``--environment``, which is made if it does not exist, and imports everything
else, such as torch, from the environment of the Python that runs this file. lightning also runs there: with
vae-lightning installed, Hydra's ``-m`` would find our sweeper in the place of its own.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from itertools import product
from pathlib import Path

from mnist_files import unpack
from process import TRAIN, Measured, measure

HERE = Path(__file__).resolve().parent
PYTHAE = "pythae==0.1.2"
PACKAGES = ("pythae", "torch", "lightning", "hydra-core", "pydantic", "numpy", "scikit-learn")
LATENT_DIMS = (2, 5, 10, 20)


@dataclass(frozen=True)
class Settings:
    """What the ways have in common.

    Attributes:
        root: the folder of the gzipped MNIST files.
        data: the folder where torchvision finds them.
        python: the interpreter of the peers' environment.
        epochs: of each job.
        gpu: whether to train on a GPU.
    """

    root: Path
    data: Path
    python: str
    epochs: int
    gpu: bool

    @property
    def device(self) -> str:
        return "cuda" if self.gpu else "cpu"


Command = Callable[[Settings, Sequence[int], Sequence[float]], list[str]]


def _script(*words: str, peer: bool = False) -> Command:
    def command(settings: Settings, latent_dims: Sequence[int], lrs: Sequence[float]) -> list[str]:
        return [
            *(
                settings.python if peer else sys.executable,
                str(HERE / words[0]),
                *words[1:],
                "--data",
                str(settings.data),
            ),
            *("--epochs", str(settings.epochs), "--device", settings.device),
            *("--latent-dim", *map(str, latent_dims), "--lr", *map(str, lrs)),
        ]

    return command


def _lightning(settings: Settings, latent_dims: Sequence[int], lrs: Sequence[float]) -> list[str]:
    return [
        *(settings.python, str(HERE / "peer_lightning.py"), "-m", f"data.data_dir={settings.data}"),
        *(f"trainer.max_epochs={settings.epochs}", f"trainer.accelerator={'gpu' if settings.gpu else 'cpu'}"),
        *(f"model.latent_dim={_listed(latent_dims)}", f"model.optimizer.lr={_listed(lrs)}"),
    ]


def _vae_train(settings: Settings, latent_dims: Sequence[int], lrs: Sequence[float]) -> list[str]:
    return [
        *(*TRAIN, "experiment=article", *_common(settings), "+callbacks.stamps._target_=epoch_stamps.EpochStamps"),
        *(f"model.latent_dim={_listed(latent_dims)}", f"optimizer.lr={_listed(lrs)}"),
    ]


def _stacked(settings: Settings, latent_dims: Sequence[int], lrs: Sequence[float]) -> list[str]:
    return [
        *(*TRAIN, "-m", "experiment=latent_lr", "hydra/launcher=stacked", *_common(settings)),
        *("data.val_size=0", "callbacks.best_checkpoint=null", "sweep.objective=train/loss"),
        *(f"model.latent_dim={_listed(latent_dims)}", f"optimizer.lr={_listed(lrs)}"),
    ]


def _common(settings: Settings) -> list[str]:
    device = ["trainer=gpu", "data.device=cuda"] if settings.gpu else ["trainer=cpu"]
    return [f"data.root={settings.root}", f"trainer.max_epochs={settings.epochs}", *device]


def _listed(values: Sequence[float]) -> str:
    return ",".join(map(str, values))


@dataclass(frozen=True)
class Way:
    """A way to train.

    Attributes:
        command: returns the command that trains the jobs of a grid.
        shared: whether a process trains several jobs.
    """

    command: Command
    shared: bool = False


STACKED = "stacked"
WAYS = {
    "lightning": Way(_lightning, shared=True),
    "example": Way(_script("peer_example.py")),
    "pythae": Way(_script("peer_pythae.py", peer=True)),
    "article": Way(_script("peer_loops.py", "article")),
    "plain": Way(_script("peer_loops.py", "plain"), shared=True),
    "vae-train": Way(_vae_train),
    STACKED: Way(_stacked, shared=True),
}


@dataclass(frozen=True)
class Figures:
    """What is measured of a way: seconds an epoch, seconds a sweep, and MiB."""

    epoch: float
    sweep: float
    mib: float


def figures(way: Way, settings: Settings, latent_dims: Sequence[int], lrs: Sequence[float], whole: bool) -> Figures:
    """Run a way and return its figures.

    Arguments:
        way: the way.
        settings: the settings.
        latent_dims: of the sweep's grid.
        lrs: the grid's learning rates.
        whole: whether the sweep runs whole.
    """
    grid = [*product(latent_dims, lrs)]
    if way is WAYS[STACKED]:
        done, _ = _run(way.command(settings, latent_dims, lrs))
        epochs = [float(line.split()[-2]) for line in done.shown.splitlines() if line.startswith("epoch ")]
        return Figures(statistics.median(epochs[1:] or epochs) / len(grid), done.seconds, done.mib)
    if way.shared:
        # Two jobs tell the time of a further one in the same process.
        done, stamps = _run(way.command(settings, latent_dims[-2:], lrs[:1]))
        epochs, ends = _epochs(stamps), stamps[1::2]
        seconds = done.seconds + (len(grid) - 2) * (ends[-1] - ends[settings.epochs - 1])
    else:
        done, stamps = _run(way.command(settings, latent_dims[-1:], lrs[:1]))
        epochs = _epochs(stamps)
        seconds = len(grid) * done.seconds
    if whole:
        jobs = [(latent_dims, lrs)] if way.shared else [([latent_dim], [lr]) for latent_dim, lr in grid]
        seconds = sum(_run(way.command(settings, *job))[0].seconds for job in jobs)
    return Figures(statistics.median(epochs[1:] or epochs), seconds, done.mib)


def _run(command: list[str]) -> tuple[Measured, list[float]]:
    """Run a command in an empty folder; return what it took, and the stamps that it has left."""
    with tempfile.TemporaryDirectory() as folder:
        stamps = Path(folder) / "stamps"
        paths = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
        done = measure(command, Path(folder), {"PYTHONPATH": paths, "STAMPS": str(stamps)})
        return done, [float(line) for line in stamps.read_text().split()] if stamps.exists() else []


def _epochs(stamps: Sequence[float]) -> list[float]:
    """Return the seconds between the two stamps of each epoch."""
    return [end - begin for begin, end in zip(stamps[::2], stamps[1::2], strict=True)]


def make_environment(folder: Path) -> None:
    """Install pythae into an environment that takes all other packages from this one, unless it exists."""
    python = str(folder / "bin/python")
    if not (folder / "complete").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        (site,) = folder.glob("lib/python*/site-packages")
        (site / "beneath.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--quiet", PYTHAE], check=True)
        (folder / "complete").touch()
    show = (
        "import sys, importlib.metadata as m; print(*(f'{name} {m.version(name)}' for name in sys.argv[1:]), sep=', ')"
    )
    versions = subprocess.run([python, "-c", show, *PACKAGES], check=True, text=True, capture_output=True).stdout
    print("the peers' environment:", versions)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=5, help="of every job, at least 2")
    parser.add_argument("--jobs", type=int, default=12, help="of a sweep, a multiple of 4: latent_dim 2, 5, 10 and 20")
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=list(WAYS))
    parser.add_argument("--rounds", type=int, default=1, help="the figures are medians")
    parser.add_argument("--whole", action="store_true", help="run the peers' sweeps whole")
    parser.add_argument("--trainer", choices=["cpu", "gpu"], default="cpu")
    parser.add_argument("--environment", type=Path, default=Path(tempfile.gettempdir()) / "vae-lightning-peers")
    options = parser.parse_args()
    if options.epochs < 2 or options.jobs % len(LATENT_DIMS):
        parser.error("--epochs must be at least 2, and --jobs a multiple of 4")
    python = options.environment.resolve() / "bin/python"
    if {"lightning", "pythae"} & {*options.ways}:
        make_environment(options.environment.resolve())
    rates = options.jobs // len(LATENT_DIMS)
    lrs = [float(f"{1e-3 * 3 ** (1 - place):.2g}") for place in range(rates)]
    found: dict[str, list[Figures]] = {name: [] for name in options.ways}
    with tempfile.TemporaryDirectory() as data:
        unpack(options.root, Path(data))
        settings = Settings(options.root.resolve(), Path(data), str(python), options.epochs, options.trainer == "gpu")
        for _ in range(options.rounds):
            for name in options.ways:
                found[name].append(figures(WAYS[name], settings, LATENT_DIMS, lrs, options.whole))
                print(f"{name}: {found[name][-1]}", file=sys.stderr, flush=True)
    medians = {
        name: Figures(*(statistics.median(getattr(one, field) for one in each) for field in ("epoch", "sweep", "mib")))
        for name, each in found.items()
    }
    print(
        f"{os.cpu_count()} cores, torch {version('torch')}, Lightning {version('lightning')}; {options.epochs} epochs, "
        f"{options.jobs} jobs a sweep, {options.trainer}; ratios to vae-train, for sweeps to stacked\n"
    )
    print("| way | s an epoch | ratio | s a sweep | ratio | MiB | ratio |\n|" + " --- |" * 7)
    for name, one in medians.items():
        ours, stacked = medians.get("vae-train"), medians.get(STACKED)
        cells = [
            *(f"{one.epoch:.2f}", f"{one.epoch / ours.epoch:.2f}" if ours else "-"),
            *(f"{one.sweep:.1f}", f"{one.sweep / stacked.sweep:.2f}" if stacked else "-"),
            *(f"{one.mib:.0f}", f"{one.mib / ours.mib:.2f}" if ours else "-"),
        ]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
