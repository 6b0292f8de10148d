"""Runs with every posterior and prior: resumed to the bit, on two processes, in sweeps."""

from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import SMALL, TINY, Command, Compose, losses, metrics_of

from vae_lightning import VAE
from vae_lightning.commands.command import CONF
from vae_lightning.config.errors import InputError
from vae_lightning.runs.training import train

POSTERIORS = sorted(path.stem for path in (CONF / "posterior").glob("*.yaml"))
CASES = {
    **{f"posterior={name}": [f"posterior={name}"] for name in POSTERIORS},
    **{f"posterior={name}": [f"posterior={name}", "estimator=relax"] for name in ("bernoulli", "categorical")},
    "model=two_layers": ["model=two_layers", "posterior=categorical", "prior=learned", "estimator=relax"],
    **{f"prior={name}": [f"prior={name}"] for name in ("mixture", "vamp", "flow", "learned")},
    "a temperature with a schedule": [
        "posterior=concrete_categorical",
        "posterior.schedule={_target_: vae_lightning.schedules.Staircase, at: [2, 4], factors: [0.8, 0.5]}",
        "posterior.relaxed_evaluation=true",
    ],
    "model=conditional": ["model=conditional"],
}


class CrashError(Exception):
    pass


@pytest.mark.parametrize("case", CASES)
def test_a_resumed_run_ends_with_the_same_bits(
    case: str, composed: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = [*TINY, "model.widths=[8]", "model.latent_dim=3", "logger=none", *CASES[case]]
    whole = train(composed(*options, run="whole"))
    begin = VAE.on_train_epoch_start

    def crash(vae: VAE) -> None:
        begin(vae)
        if vae.current_epoch == 1:
            raise CrashError

    with monkeypatch.context() as patched:
        patched.setattr(VAE, "on_train_epoch_start", crash)
        with pytest.raises(CrashError):
            train(composed(*options))
    resumed = train(composed(*options))
    assert losses(resumed) == losses(whole)
    weights: list[dict[str, Any]] = [
        torch.load(tmp_path / run / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for run in ("whole", "run")
    ]
    for name, weight in weights[0].items():
        assert torch.equal(weight, weights[1][name]), name


def test_two_processes_give_the_numbers_of_one(command: Command, tmp_path: Path) -> None:
    options = [*SMALL, "trainer.precision=64-true", "data.batch_size=50", "callbacks.figures=null"]
    options += ["posterior=student_t", "prior=vamp", "prior.components=3", "objective=iwae", "objective.samples=2"]
    for run, more in (("one", []), ("two", ["trainer=ddp_cpu"])):
        done = command("train", *options, *more, f"hydra.run.dir={run}")
        assert done.returncode == 0, done.stderr
    found, expected = (losses(metrics_of(tmp_path / run)) for run in ("two", "one"))
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, rel=1e-6, abs=0.003 if "acc" in name else 0), name
    done = command("evaluate", "run=one", "samples=5", "images=20", "trainer=cpu")
    assert done.returncode == 0, done.stderr
    assert {"pseudo_inputs.png", "latent_space.png"} <= {path.name for path in (tmp_path / "one/figures").iterdir()}


def test_a_grid_leaves_out_pairs_that_make_no_sense_and_stacks_give_what_jobs_give_alone(
    command: Command, tmp_path: Path
) -> None:
    options = [
        *SMALL,
        "trainer.precision=64-true",
        "callbacks.figures=null",
        "callbacks.probe=null",
        "model.widths=[16]",
    ]
    options += ["+trainer.gradient_clip_val=1", "likelihood=gaussian"]  # every learned number is clipped
    axes = ["posterior=laplace,gamma", "prior=mixture,vamp", "seed=1,2"]
    done = command("train", "-m", *options, *axes, "hydra/launcher=stacked", "sweep.name=s")
    assert done.returncode == 0, done.stderr
    output = done.stdout + done.stderr
    assert output.count("left out: posterior=gamma,prior=mixture") == 2
    assert output.index("left out") < output.index("stack 1 of 3: 2 models")
    jobs = sorted(path.name for path in (tmp_path / "outputs/sweeps/s").glob("*=*"))
    assert jobs == [
        f"posterior={posterior},prior={prior},seed={seed}"
        for posterior, prior in (("gamma", "vamp"), ("laplace", "mixture"), ("laplace", "vamp"))
        for seed in (1, 2)
    ]
    for job in ("posterior=gamma,prior=vamp,seed=2", "posterior=laplace,prior=mixture,seed=2"):
        assert command("train", *options, *job.split(","), f"hydra.run.dir='{job}'").returncode == 0
        found, alone = (losses(metrics_of(folder / job)) for folder in (tmp_path / "outputs/sweeps/s", tmp_path))
        assert found == pytest.approx(alone, rel=1e-9)


def test_a_pair_that_makes_no_sense_is_refused_in_one_line(command: Command, tmp_path: Path) -> None:
    done = command("train", *SMALL, "posterior=gamma", "prior=mixture", "hydra.run.dir=run")
    assert done.returncode != 0
    assert done.stderr == (
        "error: prior=Mixture: must be another, because it is a distribution of real numbers, and the latents of "
        "posterior=Gamma are positive numbers\n"
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["posterior=dirichlet", "objective=free_bits"], "objective=FreeBits: must be another"),
        (["posterior=concrete_bernoulli", "posterior.kl=relaxed", "posterior.straight_through=true"], "kl=relaxed"),
        (["model=conditional", "prior=vamp"], "prior=Vamp: must be another with classes=10"),
        (["posterior=power_spherical", "model.latent_dim=1"], "latent_dim=1"),
    ],
)
def test_other_choices_that_do_not_go_together_are_refused(
    options: list[str], message: str, composed: Compose, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        train(composed(*TINY, *options))
    assert len(str(caught.value).splitlines()) == 1
