"""Bad input through the real commands: one line, a status that is not 0, nothing written."""

import copy
import gzip
import io
import os
import pickle
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import SMALL, Command, Compose
from hydra.core.config_store import ConfigStore
from warm_process import run_command


@pytest.mark.usefixtures("no_torch")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["model.latnt_dim=3"], "model.latnt_dim: there is no such name; did you mean latent_dim?"),
        (["+model.foo=3"], "model.foo=3: there is no such name"),
        (["optimizer.lrr=1"], "optimizer.lrr: there is no such name; did you mean lr?"),
        (["data=mnst"], "data=mnst: there is no such name; did you mean mnist? allowed: emnist, fashion_mnist, files"),
        (["datta=mnist"], "datta: there is no such name; did you mean data?"),
        (["experiment=artcle"], "experiment=artcle: there is no such name; did you mean article?"),
        (["model.latent_dim=0"], "model.latent_dim=0: must be a whole number of at least 1"),
        (["model.latent_dim=two"], "model.latent_dim=two: must be a whole number of at least 1"),
        (["model.latent_dim=2.5"], "model.latent_dim=2.5: must be a whole number of at least 1"),
        (["model.widths=null"], "model.widths=None: must be a list of any number of values"),
        (["optimizer.lr=-1"], "optimizer.lr=-1: must be a finite number above 0"),
        (["optimizer.lr=nan"], "optimizer.lr=nan: must be a finite number above 0"),
        (["optimizer.lr=inf"], "optimizer.lr=inf: must be a finite number above 0"),
        (["optimizer.betas=[0.9,1]"], "optimizer.betas=[0.9, 1]: must be a list of 2 values"),
        (["data.batch_size=0"], "data.batch_size=0: must be a whole number of at least 1"),
        (["data.val_size=60000"], "data.val_size=60000: must be a whole number from 0 to 59999"),
        (["data=mnist_5k", "data.val_size=4000"], "data.val_size=4000: must be a whole number from 0 to 3999"),
        (["data=kmnist", "data.val_size=60000"], "data.val_size=60000: must be a whole number from 0 to 59999"),
        (["data=emnist", "data.val_size=112800"], "data.val_size=112800: must be a whole number from 0 to 112799"),
        (["data=emnist", "data.split=letter"], "data.split=letter: must be one of balanced, byclass, bymerge, letters"),
        (["data=files"], "data.path=None: must be a non-empty string"),
        (["data=files", "data.path=x", "data.test_size=0"], "data.test_size=0: must be a whole number of at least 1"),
        (["seed=-1"], "seed=-1: must be a whole number from 0 to 4294967295"),
        (["trainer.max_epochs=0"], "trainer.max_epochs=0: must be a whole number of at least 1"),
        (["trainer.precision=7"], "trainer.precision=7: must be one of"),
        (["callbacks.probe.C=0"], "callbacks.probe.C=0: must be a finite number above 0, or a list of such numbers"),
        (["callbacks.probe.C=[1,10]", "data.val_size=0"], "callbacks.probe.C=[1, 10]: must be one value"),
        (["data.root=${oc.env:NOT_SET_ANYWHERE}"], "NOT_SET_ANYWHERE"),
        (["model.latent_dim=true"], "model.latent_dim=True: must be a whole number of at least 1"),
        (["model.latent_dim=null"], "model.latent_dim=None: must be a whole number of at least 1"),
        (["model.latent_dim=[2,3]"], "model.latent_dim=[2, 3]: must be a whole number of at least 1"),
        (["model.widths=128"], "model.widths=128: must be a list of any number of values"),
        (["model.widths=[128,0]"], "model.widths=[128, 0]: must be a list of any number of values"),
        (["model.widths=[wide]"], "model.widths=['wide']: must be a list of any number of values"),
        (["model.image_shape=[28,28]"], "model.image_shape=[28, 28]: must be a list of 3 values"),
        (["model.encoder=3"], "model.encoder=3: must be a mapping with _target_"),
        (["model.decoder={width:3}"], "model.decoder={'width': 3}: must be a mapping with _target_"),
        (
            ["model=cnv"],
            "model=cnv: there is no such name; did you mean conv? allowed: conditional, conv, mlp, residual",
        ),
        (["model=conv", "model.encoder.channels=[0]"], "model.encoder.channels=[0]: must be a list of one or more"),
        (["model=conv", "model.encoder.chanels=[8]"], "model.encoder.chanels: there is no such name; did you mean"),
        (["model=conv", "+model.decoder.blocks=1"], "model.decoder.blocks=1: there is no such name"),
        (["model=residual", "model.decoder.blocks=0"], "model.decoder.blocks=0: must be a whole number of at least 1"),
        (["optimizer.lr=0"], "optimizer.lr=0: must be a finite number above 0"),
        (["optimizer.lr=fast"], "optimizer.lr=fast: must be a finite number above 0"),
        (["optimizer.lr=null"], "optimizer.lr=None: must be a finite number above 0"),
        (["optimizer=adamw", "optimizer.weight_decay=-1"], "optimizer.weight_decay=-1: must be a finite number"),
        (["data.batch_size=64.5"], "data.batch_size=64.5: must be a whole number of at least 1"),
        (["data.eval_batch_size=0"], "data.eval_batch_size=0: must be a whole number of at least 1"),
        (["data.block_size=-4"], "data.block_size=-4: must be auto or a whole number of at least 1"),
        (["data.val_size=-1"], "data.val_size=-1: must be a whole number of at least 0"),
        (["data.split_seed=x"], "data.split_seed=x: must be a whole number from 0 to 4294967295"),
        (["data.root=''"], "data.root=: must be a non-empty string"),
        (["data.mirror=7"], "data.mirror=7: must be a non-empty string, or null"),
        (["data=mnist_5k", "data.root=here"], "data.root: there is no such name"),
        (["seed=one"], "seed=one: must be a whole number from 0 to 4294967295"),
        (["seed=1.5"], "seed=1.5: must be a whole number from 0 to 4294967295"),
        (["seed=1,2"], "Ambiguous value"),
        (["restart=maybe"], "restart=maybe: must be one of True, False"),
        (["trainer.max_epochs=ten"], "trainer.max_epochs=ten: must be a whole number of at least 1"),
        (["trainer.devices=0"], "trainer.devices=0: must be auto, -1, a whole number of at least 1"),
        (["trainer.devices=two"], "trainer.devices=two: must be auto, -1, a whole number of at least 1"),
        (["trainer.num_nodes=0"], "trainer.num_nodes=0: must be a whole number of at least 1"),
        (["trainer.strategy=fsdp"], "trainer.strategy=fsdp: must be one of auto, ddp"),
        (["trainer.acelerator=cpu"], "trainer.acelerator: there is no such name; did you mean accelerator?"),
        (["trainer=tpu"], "trainer=tpu: there is no such name"),
        (["hydra/job_logging=stdout", "seed=-1"], "seed=-1: must be a whole number"),
        (["hydra/job_logging=disabled", "seed=-1"], "seed=-1: must be a whole number"),
        (["callbacks.probe.every_n_epochs=0"], "callbacks.probe.every_n_epochs=0: must be a whole number of at least"),
        (["callbacks.probe.max_iter=0"], "callbacks.probe.max_iter=0: must be a whole number of at least 1"),
        (["callbacks.probe.max_train_images=5"], "callbacks.probe.max_train_images=5: must be a whole number of at"),
        (["callbacks.probe.standardize=1"], "callbacks.probe.standardize=1: must be one of True, False"),
        (["callbacks.probe.C=[1,nan]"], "callbacks.probe.C=[1, nan]: must be a finite number above 0"),
        (["sweep.on_failure=panic"], "sweep.on_failure=panic: must be one of continue, stop"),
        (["sweep.objective=loss"], "sweep.objective=loss: must be a metric of training or validation"),
        (["model.latent_dim"], "model.latent_dim"),
        (["model.latent_dim=${nothing.there}"], "nothing.there"),
        (["~data"], "data: must not be removed, because every run needs it"),
        (["+max_epochs=7"], "max_epochs=7: there is no such name; did you mean trainer.max_epochs? allowed: callbacks"),
        (["max_epochs=7"], "max_epochs: there is no such name; did you mean trainer.max_epochs? allowed: callbacks"),
        (["resume=3"], "resume=3: must be a run directory, but 3/.hydra/config.yaml does not exist"),
        (["sweep=null", "-m"], "sweep=None: must be a mapping of axes, name, objective, on_failure"),
        (["sweep.name=../../x", "-m"], "sweep.name=../../x: must be a name for a folder or file, without /"),
        (["hydra.launcher._target_=os.system", "-m"], "hydra.launcher._target_=os.system: must be a plugin of Hydra"),
        ([f"seed={'9' * 5000}"], "Exceeds the limit (4300 digits)"),
        (["--resolve"], "The --resolve flag can only be used in conjunction with --cfg"),
        (["callbacks=null"], "Config group override must be a string or a list"),
        (["hydra/launcher=rocket", "seed=1", "-m"], "hydra/launcher=rocket: there is no such name"),
        (["seed=1,-1", "-m"], "seed=-1: must be a whole number from 0 to 4294967295"),
        (["seed=range(0", "-m"], "input 'range(0'"),
        (["model=[1"], "input '[1'"),
        (["--config-dir", "nowhere"], "nowhere"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_bad_input_is_refused_before_anything_is_imported_or_written(
    arguments: list[str], said: str, command: Command, tmp_path: Path
) -> None:
    done = command("train", *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert said in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["model._target_=os.system"],
            "model._target_=os.system: must be the full name of a subclass of LightningModule",
        ),
        (
            ["optimizer._target_=os.system"],
            "optimizer._target_=os.system: must be the full name of a subclass of Optimizer",
        ),
        (["+callbacks.mine={_target_:os.system,command:'touch was_run'}"], "callbacks.mine._target_=os.system"),
        (["+optimizer.foo=1"], "Adam refuses its arguments"),
        (
            ["model.encoder={_target_:os.system}"],
            "encoder._target_=os.system: must be the full name of a subclass of Module",
        ),
        (
            ["model=conv", "model.decoder={_target_:torch.nn.Identity}"],
            "decoder: torch.nn.Identity maps (2, 20) to (2, 20): must be (2, 1, 28, 28)",
        ),
        (["trainer.accelerator=abacus"], "trainer: Trainer refuses its arguments"),
        (["data=mnist", "data.root=empty", "data.mirror=nowhere"], "data.root=empty: train-images-idx3-ubyte"),
        (["data=emnist", "data.root=empty", "data.mirror=nowhere"], "data.root=empty: emnist-balanced-train-images"),
        (
            ["data=files", "data.path=nowhere"],
            "data.path=nowhere: train_images, train_labels, test_images, test_labels",
        ),
        (
            ["model.image_shape=[3,16,16]"],
            "model.image_shape=[3, 16, 16]: must be [1, 28, 28], as in the data, or null",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_bad_input_is_refused_before_anything_is_written(
    arguments: list[str], said: str, command: Command, tmp_path: Path
) -> None:
    done = command("train", "data=mnist_5k", *arguments)
    assert done.returncode == 2
    assert said in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


IMAGES = "train-images-idx3-ubyte"
HEADER = struct.pack(">4I", 0x803, 60_000, 28, 28)


@pytest.mark.slow  # each takes the time of the imports
@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (IMAGES, b"", "it is not an IDX file of bytes: its header is empty"),
        (IMAGES, HEADER, "47,040,000 bytes, but 0 follow"),
        (IMAGES, HEADER + bytes(60_000 * 28 * 28), "MD5"),
        (IMAGES, struct.pack(">4I", 0x803, 60_000, 32, 32) + bytes(1000), "61,440,000 bytes, but 1,000 follow"),
        ("train-labels-idx1-ubyte", struct.pack(">2I", 0x801, 59_999) + bytes(59_999), "60,007 bytes unpacked"),
        ("train-labels-idx1-ubyte.gz", gzip.compress(bytes(60_008))[:40], "cannot be unpacked"),
        ("t10k-labels-idx1-ubyte.gz", b"no gzip", "cannot be unpacked"),
        ("t10k-labels-idx1-ubyte.gz", gzip.compress(pickle.dumps(print)), "bytes unpacked"),
    ],
)
def test_a_hostile_data_file_is_refused_by_name(
    name: str, content: bytes, said: str, command: Command, tmp_path: Path
) -> None:
    root = tmp_path / "a folder with ümlauts"
    root.mkdir()
    for stem in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
        if not name.startswith(stem):
            (root / f"{stem}-ubyte").write_bytes(b"")
    (root / name).write_bytes(content)
    done = command("train", f"data.root='{root}'", "data.mirror=nowhere")
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {root / name}: ") or name != IMAGES
    assert done.stderr.count("\n") == 1
    if name == IMAGES:
        assert said in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == [root.name]


class Hostile:
    """What runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch was_run",)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in a folder with spaces and unicode, which are no bad input."""
    folder = tmp_path_factory.mktemp("finished")
    options = [*SMALL, "trainer.max_epochs=1", "callbacks.probe.max_iter=20", "hydra.run.dir='a run, ümläut = ok'"]
    run_command("train", *options, cwd=folder).check_returncode()
    (run,) = folder.iterdir()
    assert (run / "metrics.json").exists()
    return run


def pickled() -> bytes:
    content = io.BytesIO()
    torch.save({"state_dict": Hostile(), "epoch": 0, "global_step": 0}, content)
    return content.getvalue()


CONFIG, CHECKPOINT = ".hydra/config.yaml", "checkpoints/last.ckpt"


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        (CHECKPOINT, lambda old: pickled(), "last.ckpt: cannot be loaded: Weights only load failed"),
        (CHECKPOINT, lambda old: pickle.dumps(Hostile()), "last.ckpt: cannot be loaded"),
        (CHECKPOINT, lambda old: old[:-1000], "last.ckpt: cannot be loaded"),
        (CHECKPOINT, lambda old: b"", "last.ckpt: cannot be loaded"),
        (CHECKPOINT, lambda old: old[:600_000] + b"x" + old[600_001:], "last.ckpt: cannot be loaded: the checksum"),
        (
            CONFIG,
            lambda old: old.replace(b"vae_lightning.models.VAE", b"os.system"),
            "model._target_=os.system: must be",
        ),
        (CONFIG, lambda old: b"{", "config.yaml: cannot be read"),
        (CONFIG, lambda old: b"\xff\xfe\x00", "config.yaml: cannot be read"),
        (CONFIG, lambda old: b"a: !!python/object/apply:os.system ['touch was_run']", "config.yaml: cannot be read"),
        (CONFIG, lambda old: b"seed: 3", "config.yaml: must have data, model and callbacks"),
    ],
)
def test_a_hostile_file_in_a_run_is_refused_and_no_code_is_run(
    name: str,
    change: Callable[[bytes], bytes],
    said: str,
    finished: Path,
    command: Command,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    if said.startswith("config.yaml"):
        request.getfixturevalue("no_torch")  # the configuration is read before a class of it is looked up
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    (run / "metrics.json").unlink()
    (run / name).write_bytes(change((run / name).read_bytes()))
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    done = command("evaluate", "run=run", "trainer=cpu")
    assert done.returncode == 2
    assert said in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


@pytest.mark.usefixtures("no_torch")
def test_one_device_evaluates(finished: Path, command: Command) -> None:
    done = command("evaluate", f"run='{finished}'", "trainer=ddp_cpu")
    assert done.returncode == 2
    assert done.stderr == "error: trainer.devices=2: must be 1, because the evaluation runs on one device\n"


def test_a_checkpoint_of_another_architecture_is_refused(finished: Path, command: Command, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    content = torch.load(run / CHECKPOINT, weights_only=True)
    content["hyper_parameters"]["widths"] = [64]
    torch.save(content, run / CHECKPOINT)
    done = command("evaluate", "run=run", "trainer=cpu")
    assert done.returncode == 2
    assert "last.ckpt: does not fit the model" in done.stderr
    assert done.stderr.count("\n") == 1
    # Nor does a hostile class named in a checkpoint come to be called.
    content["hyper_parameters"] |= {"optimizer": {"_target_": "os.system", "command": "touch was_run"}, "widths": [128]}
    torch.save(content, run / CHECKPOINT)
    done = command("evaluate", "run=run", "trainer=cpu")
    assert done.returncode == 2
    assert "os.system: must be the full name of" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


OF_ANY_RUN = [
    ([], "run: must be a run directory"),
    (["run=nowhere"], "run=nowhere: must be a run directory, but nowhere/.hydra/config.yaml does not exist"),
    (["run=null"], "run=None: must be a non-empty string"),
    (["run=nowhere", "checkpoint=first"], "checkpoint=first: must be one of last, best"),
]


@pytest.mark.usefixtures("no_torch")
@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        *(("evaluate", *row) for row in OF_ANY_RUN),
        *(("export", *row) for row in OF_ANY_RUN),
        ("export", ["run=nowhere", "folder=here"], "folder: there is no such name"),
        ("evaluate", ["run=nowhere", "split=all"], "split=all: must be one of test, val, train"),
        ("evaluate", ["run=nowhere", "samples=-1"], "samples=-1: must be a whole number of at least 0, or null"),
        ("evaluate", ["run=nowhere", "images=1"], "images=1: must be a whole number of at least 2, or null"),
        ("evaluate", ["run=nowhere", "seed=null"], "seed=None: must be a whole number from 0 to 4294967295"),
        ("evaluate", ["run=nowhere", "chunk_size=0"], "chunk_size=0: must be a whole number of at least 1"),
        (
            "evaluate",
            ["run=nowhere", "probe_C=[1,0]"],
            "probe_C=[1, 0]: must be a finite number above 0, or a list of such numbers, or null",
        ),
        ("evaluate", ["run=nowhere", "smples=5"], "smples: there is no such name; did you mean samples?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_a_missing_run_or_a_bad_key_is_refused(
    name: str, arguments: list[str], said: str, command: Command, tmp_path: Path
) -> None:
    done = command(name, *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {said}")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("no_torch")
def test_a_traceback_on_request(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Traceback" not in command("train", "model.latent_dim=0").stderr
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    asked = command("train", "model.latent_dim=0")
    assert asked.returncode != 0
    assert "Traceback" in asked.stderr
    assert "InputError: model.latent_dim=0" in asked.stderr


def test_the_commands_load_nothing_heavy_before_they_need_it() -> None:
    light = ", ".join(f"vae_lightning.commands.{name}" for name in ("train", "evaluate", "explore", "export", "report"))
    found = "sys.exit(len({'torch', 'onnx', 'matplotlib', 'numpy'} & {*sys.modules}))"
    assert subprocess.run([sys.executable, "-c", f"import sys, {light}; {found}"]).returncode == 0


def test_the_store_of_configurations_is_not_copied_and_does_not_change(composed: Compose) -> None:
    store = ConfigStore.instance()

    def content(node: object) -> object:
        children = node.items() if isinstance(node, dict) else ()
        return {name: content(child) for name, child in children} or repr(getattr(node, "node", node))

    first = composed(
        "hydra/sweeper=search", "hydra.sweeper.n_trials=3"
    )  # Hydra imports the plugins, which store theirs
    before = content(store.repo)
    assert composed("hydra/sweeper=search", "hydra.sweeper.n_trials=3") == first
    assert copy.deepcopy(store) is store
    assert content(store.repo) == before
