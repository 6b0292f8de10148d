"""Several devices give the numbers of one; here they are processes of the CPU."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from conftest import SMALL, TRAIN, Command, losses, metrics_of
from warm_process import run_command

# 999 for training, 3,001 for validation, 1,000 for test: neither 2 nor 3 divides all. The objective and the estimator
# have means over the batch in them.
ODD = [
    *(
        *SMALL,
        "data.val_size=3001",
        "data.batch_size=50",
        "callbacks.probe.every_n_epochs=1",
        "callbacks.figures.embedded=9",
    ),
    *("data.binarisation=dynamic", "objective=free_bits", "estimator=score_function_baseline"),
    "trainer.precision=64-true",  # for the score function makes much of roundings
]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    run_command("train", *ODD, "hydra.run.dir=run", cwd=folder).check_returncode()
    return folder / "run"


def check_same_numbers(run: Path, alone: Path) -> None:
    found, expected = losses(metrics_of(run)), losses(metrics_of(alone))
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        # A rounding of mu may move an image over the probe's boundary.
        near = pytest.approx(value, abs=0.003) if "acc" in name else pytest.approx(value, rel=1e-6)
        assert found[name] == near, name
    rows, reference = (pd.read_csv(folder / "metrics.csv") for folder in (run, alone))
    assert rows["step"].tolist() == reference["step"].tolist()
    assert rows["train/loss"].tolist() == pytest.approx(reference["train/loss"].tolist(), rel=1e-5, nan_ok=True)
    kls = [
        next(state["kl_by_dimension"] for name, state in content["callbacks"].items() if name.startswith("Figures"))
        for content in (torch.load(folder / "checkpoints/last.ckpt", weights_only=True) for folder in (run, alone))
    ]
    assert kls[0] == pytest.approx(kls[1], rel=1e-6)


def test_two_processes_give_the_numbers_of_one(alone: Path, command: Command, tmp_path: Path) -> None:
    done = command("train", *ODD, "trainer=ddp_cpu", "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("loss = -ELBO") == 1
    assert done.stderr == ""
    check_same_numbers(tmp_path / "run", alone)


@pytest.mark.slow
def test_two_processes_train_an_estimators_own_weights_as_one(command: Command, tmp_path: Path) -> None:
    options = [*SMALL, "data.val_size=3001", "data.batch_size=50", "trainer.max_epochs=1", "trainer.precision=64-true"]
    options += ["posterior=bernoulli", "estimator=relax", "callbacks.probe=null", "callbacks.figures=null"]
    for name in ("cpu", "ddp_cpu"):
        done = command("train", *options, f"trainer={name}", f"hydra.run.dir={name}")
        assert done.returncode == 0, done.stderr
    found, expected = (
        torch.load(tmp_path / name / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for name in ("ddp_cpu", "cpu")
    )
    assert any(name.startswith("estimator.networks") for name in expected)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


@pytest.mark.slow
def test_three_processes_that_cannot_share_a_batch_evenly(alone: Path, command: Command, tmp_path: Path) -> None:
    # The last test batch of 1,000 in batches of 333 has a single image: two processes have none of it.
    options = [*ODD, "trainer=ddp_cpu", "trainer.devices=3", "data.eval_batch_size=333"]
    done = command("train", *options, "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    check_same_numbers(tmp_path / "run", alone)


@pytest.mark.slow
def test_torchrun_starts_the_processes(alone: Path, tmp_path: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command = [*torchrun, "-m", "vae_lightning.train", *ODD, "trainer=ddp_cpu"]
    done = subprocess.run([*command, "hydra.run.dir=run"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    check_same_numbers(tmp_path / "run", alone)
    refused = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert refused.returncode != 0
    assert "error: hydra.run.dir: must be given when several processes are started" in refused.stderr
    assert not (tmp_path / "outputs").exists()


@pytest.mark.slow
def test_a_sweep_of_jobs_on_two_processes_each(command: Command, tmp_path: Path) -> None:
    options = [*ODD, "trainer=ddp_cpu", "sweep.name=s", "model.latent_dim=2,5"]
    done = command("train", "-m", *options)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (tmp_path / "outputs").iterdir()] == ["sweeps"]
    assert [path.name for path in (tmp_path / "outputs/sweeps").iterdir()] == ["s"]
    table = pd.read_csv(tmp_path / "outputs/sweeps/s/results.csv")
    assert table["latent_dim"].tolist() == [2, 5]
    for latent_dim, loss in zip(table["latent_dim"], table["test/loss"], strict=True):
        alone = command("train", *ODD, f"model.latent_dim={latent_dim}", f"hydra.run.dir=alone{latent_dim}")
        assert alone.returncode == 0, alone.stderr
        assert loss == pytest.approx(metrics_of(tmp_path / f"alone{latent_dim}")["test/loss"], rel=1e-5)


FAILING = """
from vae_lightning import VAE
class Failing(VAE):
    def training_step(self, batch, batch_idx):
        if self.trainer.global_rank == 1 and self.latent_dim == 3:
            raise RuntimeError("one process fails")
        return super().training_step(batch, batch_idx)
"""


@pytest.mark.slow
def test_a_failing_process_ends_its_job_and_leaves_the_next_alone(command: Command, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(FAILING)
    options = [*ODD, "trainer=ddp_cpu", "sweep.name=s", "model._target_=mine.Failing", "model.latent_dim=3,2"]
    done = command("train", "-m", *options)  # and nothing waits for a process that is gone: it would run out of time
    assert done.returncode == 1
    table = pd.read_csv(tmp_path / "outputs/sweeps/s/results.csv").set_index("latent_dim")
    assert table["status"].to_dict() == {2: "complete", 3: "failed"}
    assert "process 1 of 2 failed" in table.loc[3, "why"]
    assert "one process fails" in table.loc[3, "why"]
    log = (tmp_path / "outputs/sweeps/s/latent_dim=3/train.log").read_text()
    assert "Traceback" in log
    assert 'raise RuntimeError("one process fails")' in log


@pytest.mark.usefixtures("no_torch")
@pytest.mark.parametrize(
    ("options", "environment", "line"),
    [
        (["trainer.num_nodes=2"], {}, "trainer.num_nodes=2: must be 1, unless torchrun or SLURM starts the run"),
        (["trainer.devices=65"], {}, "data.batch_size=64: must be at least the number of devices, 65"),
        (["trainer.strategy=ddp_spawn"], {}, "trainer.strategy=ddp_spawn: must be one of auto, ddp"),
        (
            ["trainer.devices=2", "hydra.run.dir=run"],
            {"WORLD_SIZE": "4", "RANK": "0"},
            "trainer.devices=2: times trainer.num_nodes must be 4, the number of processes",
        ),
        (["seed=1,2", "-m"], {"WORLD_SIZE": "2", "RANK": "0"}, "-m: must run without torchrun or srun's --ntasks"),
    ],
)
def test_devices_that_do_not_fit_are_refused(
    options: list[str], environment: dict[str, str], line: str, tmp_path: Path
) -> None:
    command = [*TRAIN, "data=mnist_5k", "trainer=ddp_cpu", *options]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, env=dict(os.environ) | environment, timeout=60
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {line}")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_bad_data_found_by_a_process_is_told_in_one_line(command: Command, tmp_path: Path) -> None:
    done = command("train", "trainer=ddp_cpu", "data.root=nothing", "data.mirror=nowhere")
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: data.root=nothing: train-images-idx3-ubyte")
    assert done.stderr.count("\n") == 1
