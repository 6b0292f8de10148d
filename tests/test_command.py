"""Bad input through the real commands: one line, a status that is not 0, nothing written."""

import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Command


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["model.latnt_dim=3"], "model.latnt_dim: there is no such name; did you mean latent_dim?"),
        (["+model.foo=3"], "model.foo=3: there is no such name"),
        (["optimizer.lrr=1"], "optimizer.lrr: there is no such name; did you mean lr?"),
        (["data=mnst"], "data=mnst: there is no such name; did you mean mnist? allowed: mnist, mnist_5k"),
        (["datta=mnist"], "datta: there is no such name; did you mean data?"),
        (["experiment=artcle"], "experiment=artcle: there is no such name; did you mean article?"),
        (["model.latent_dim=0"], "model.latent_dim=0: must be a whole number of at least 1"),
        (["model.latent_dim=two"], "model.latent_dim=two: must be a whole number of at least 1"),
        (["model.latent_dim=2.5"], "model.latent_dim=2.5: must be a whole number of at least 1"),
        (["model.widths=[]"], "model.widths=[]: must be a list of one or more values"),
        (["optimizer.lr=-1"], "optimizer.lr=-1: must be a finite number above 0"),
        (["optimizer.lr=nan"], "optimizer.lr=nan: must be a finite number above 0"),
        (["optimizer.lr=inf"], "optimizer.lr=inf: must be a finite number above 0"),
        (["optimizer.betas=[0.9,1]"], "optimizer.betas=[0.9, 1]: must be a list of 2 values"),
        (["data.batch_size=0"], "data.batch_size=0: must be a whole number of at least 1"),
        (["data.val_size=60000"], "data.val_size=60000: must be a whole number from 0 to 59999"),
        (["data=mnist_5k", "data.val_size=4000"], "data.val_size=4000: must be a whole number from 0 to 3999"),
        (["seed=-1"], "seed=-1: must be a whole number of at least 0"),
        (["trainer.max_epochs=0"], "trainer.max_epochs=0: must be a whole number of at least 1"),
        (["trainer.precision=7"], "trainer.precision=7: must be one of"),
        (["callbacks.probe.C=0"], "callbacks.probe.C=0: must be a finite number above 0, or a list of such"),
        (["callbacks.probe.C=[1,10]", "data.val_size=0"], "callbacks.probe.C=[1, 10]: must be one value"),
        (["data.root=${oc.env:NOT_SET_ANYWHERE}"], "NOT_SET_ANYWHERE"),
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
        (["model._target_=os.system"], "model._target_=os.system: must be the full name of a LightningModule class"),
        (["optimizer._target_=os.system"], "optimizer._target_=os.system: must be the full name of a Optimizer class"),
        (["+callbacks.mine={_target_:os.system,command:'touch was_run'}"], "callbacks.mine._target_=os.system"),
        (["+optimizer.foo=1"], "Adam refuses its arguments"),
        (["trainer.accelerator=abacus"], "trainer: Trainer refuses its arguments"),
        (["data=mnist", "data.root=empty", "data.mirror=nowhere"], "data.root=empty: train-images-idx3-ubyte"),
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


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "run: must be a run directory"),
        (["run=nowhere"], "run=nowhere: must be a run directory, and nowhere/.hydra/config.yaml is not there"),
        (["run=nowhere", "checkpoint=first"], "checkpoint=first: must be one of last, best"),
    ],
    ids=" ".join,
)
def test_a_missing_run_is_refused(arguments: list[str], said: str, command: Command, tmp_path: Path) -> None:
    done = command("evaluate", *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {said}")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_a_traceback_on_request(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Traceback" not in command("train", "model.latent_dim=0").stderr
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    asked = command("train", "model.latent_dim=0")
    assert asked.returncode != 0
    assert "Traceback" in asked.stderr
    assert "InputError: model.latent_dim=0" in asked.stderr


def test_help_names_the_groups(command: Command) -> None:
    done = command("train", "--help")
    assert done.returncode == 0
    for group in (
        "data: mnist, mnist_5k",
        "experiment: article, latent_lr, quickstart, search",
        "trainer: auto, cpu, gpu",
    ):
        assert group in done.stdout
    assert command("evaluate", "--help").returncode == 0


def test_the_commands_load_nothing_heavy_before_they_need_it() -> None:
    light = "import vae_lightning.train, vae_lightning.evaluate, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", light]).returncode == 0
