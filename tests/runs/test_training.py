import csv
import json
import math
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from conftest import SMALL, Command, Compose, check_same_bits, composing, evaluated, kill_after, losses, metrics_of
from hydra import compose
from omegaconf import DictConfig, OmegaConf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from vae_lightning import VAE, InputError
from vae_lightning.commands.command import CONF
from vae_lightning.commands.evaluate import evaluate
from vae_lightning.config.resolving import resolved
from vae_lightning.data.image_data_module import ImageDataModule
from vae_lightning.data.images import LabelledImages
from vae_lightning.evaluation.log_likelihood import log_likelihood
from vae_lightning.matmul_precision import matmul_precision
from vae_lightning.runs.directory import CONFIG
from vae_lightning.runs.training import train


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs, made in this process."""
    run = tmp_path_factory.mktemp("finished") / "run"
    with composing():
        cfg = compose("train", [f"run_dir='{run}'", "sweep.name=test", *SMALL, "callbacks.probe.every_n_epochs=1"])
    train(cfg)
    return run


def test_a_run_directory_holds_what_it_should(finished: Path) -> None:
    files = {str(path.relative_to(finished)) for path in finished.rglob("*") if path.is_file()}
    expected = {
        ".hydra/config.yaml",
        "metrics.json",
        "metrics.csv",
        "environment.json",
        "checkpoints/last.ckpt",
        "checkpoints/best.ckpt",
        "figures/curves.png",
        "figures/reconstructions.png",
        "figures/samples.png",
    }
    assert expected <= files
    assert not [name for name in files if name.endswith(".part")]
    assert len(list(finished.glob("events.*"))) >= 1


def test_metrics_are_flat_numbers_that_fit_together(finished: Path) -> None:
    metrics = metrics_of(finished)
    for stage in ("train", "val", "test"):
        total = metrics[f"{stage}/recon"] + metrics[f"{stage}/kl"]
        assert metrics[f"{stage}/loss"] == pytest.approx(total, rel=1e-6)
        assert 0 <= metrics[f"probe/{stage}_acc"] <= 1
    assert metrics["epochs"] == 2
    assert 0 < metrics["fit_seconds"] < metrics["total_seconds"]
    assert set(map(type, metrics.values())) <= {float, int}


def test_the_configuration_is_stored_resolved_and_trains_the_same_again(finished: Path, tmp_path: Path) -> None:
    stored = OmegaConf.load(finished / CONFIG)
    assert "${" not in (finished / CONFIG).read_text()
    assert isinstance(stored, DictConfig)
    again = OmegaConf.create(json.loads(json.dumps(resolved(stored)).replace(str(finished), str(tmp_path / "again"))))
    assert losses(train(again)) == losses(metrics_of(finished))


def test_the_curves_have_a_point_an_epoch_over_optimiser_steps(finished: Path) -> None:
    with (finished / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    metrics = metrics_of(finished)
    # 1,000 training images in batches of 64; the last row is the test.
    assert [(row["epoch"], row["step"]) for row in rows] == [("0", "16"), ("1", "32"), ("2", "32")]
    for name in ("train/loss", "val/loss"):
        assert [bool(row[name]) for row in rows] == [True, True, False]
        assert float(rows[1][name]) == metrics[name]
    assert float(rows[2]["test/loss"]) == metrics["test/loss"]
    events = EventAccumulator(str(finished)).Reload()
    assert {"train/loss", "train/recon", "train/kl", "val/loss", "probe/val_acc", "test/loss"} <= set(
        events.Tags()["scalars"]
    )
    assert [event.step for event in events.Scalars("train/loss")] == [16, 32]
    assert events.Scalars("train/loss")[-1].value == pytest.approx(metrics["train/loss"])


def test_checkpoints_are_plain_and_last_is_what_was_tested(finished: Path) -> None:
    for name in ("last", "best"):
        content = torch.load(finished / "checkpoints" / f"{name}.ckpt", weights_only=True)
        assert content["hyper_parameters"]["latent_dim"] == 20
        assert content["epoch"] == 1
    vae = VAE.load_from_checkpoint(finished / "checkpoints/last.ckpt")
    assert vae.hparams["optimizer"]["_target_"] == "torch.optim.Adam"


def test_the_environment_tells_what_a_number_may_depend_on(finished: Path) -> None:
    environment = json.loads((finished / "environment.json").read_text())
    assert environment["versions"]["torch"] == torch.__version__.split("+")[0]
    assert environment["machine"]["threads"] == torch.get_num_threads()
    assert environment["command"]


def test_evaluating_a_run_gives_its_stored_numbers_to_the_last_digit(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = metrics_of(finished)
    found = evaluated(finished)
    for name in ("test/loss", "test/recon", "test/kl", "probe/test_acc", "probe/val_acc", "probe/train_acc"):
        assert found[name] == stored[name]
    content = json.loads((finished / "evaluation.json").read_text())
    protocol = content.pop("protocol")
    assert content == found
    expected = {
        "checkpoint": "last",
        "split": "test",
        "images": 1000,
        "all_images": True,
        "samples": 10,
        "seed": 0,
        "chunk_size": 1000,
    }
    assert protocol.items() >= expected.items()
    assert protocol["binarisation"] == "none"
    assert (protocol["units"], protocol["precision"], protocol["device"]) == ("nats per image", "float32", "cpu")
    assert "cross-entropy" in protocol["likelihood"]
    shown = capsys.readouterr().out
    assert str(stored["test/loss"]) in shown
    assert f"{found['test/log_likelihood']:.3f}" in shown


def test_an_evaluations_numbers_fit_together(finished: Path) -> None:
    found = evaluated(finished)
    assert found["test/elbo"] < found["test/log_likelihood"] < 0
    # The same bound by one sample an image and by ten.
    assert found["test/elbo"] == pytest.approx(-found["test/loss"], rel=0.005)
    assert 0 < found["test/log_likelihood_standard_error"] < 5
    assert found["test/log_likelihood_bias"] < 0
    assert 1 <= found["test/effective_samples"] <= 10
    dimensions = found["test/kl_per_dimension"]
    assert len(dimensions) == 20
    assert sum(dimensions) == pytest.approx(found["test/kl"], rel=1e-5)
    assert found["test/mutual_information"] + found["test/marginal_kl"] == pytest.approx(sum(dimensions))
    assert 0 < found["test/mutual_information"] <= math.log(1000)
    assert 0 <= found["test/active_units"] <= 20


def test_an_evaluations_seed_and_chunks_and_what_is_left_out(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = "images=50"
    found, chunks, other = (
        evaluated(finished, few, *options) for options in ([], ["chunk_size=7"], ["seed=1", "chunk_size=7"])
    )
    assert evaluated(finished, few) == found
    assert "over 50 images, 10 samples each" in capsys.readouterr().out
    assert chunks["test/log_likelihood"] == pytest.approx(found["test/log_likelihood"], rel=1e-6)
    for name in ("test/log_likelihood", "test/mutual_information"):
        assert other[name] != pytest.approx(found[name], rel=1e-6)
    assert other["test/loss"] == found["test/loss"]
    without = evaluated(finished, few, "samples=null")
    assert without == {name: value for name, value in found.items() if name in without}
    left_out = {"log_likelihood", "log_likelihood_standard_error", "log_likelihood_bias", "effective_samples", "elbo"}
    assert {name.removeprefix("test/") for name in set(found) - set(without)} == left_out
    assert evaluated(finished, few, "samples=1")["test/log_likelihood_bias"] is None


def test_log_p_is_that_of_evenly_spaced_images_and_everything_else_of_all(
    finished: Path, digits: tuple[LabelledImages, LabelledImages]
) -> None:
    found, whole = evaluated(finished, "images=50"), evaluated(finished, "samples=0")
    vae = VAE.load_from_checkpoint(finished / "checkpoints/last.ckpt")
    protocol = json.loads((finished / "evaluation.json").read_text())["protocol"]
    with matmul_precision(protocol["matmul_precision"]):
        expected = log_likelihood(vae, digits[1].images[::20] / 255, 10)
    assert found["test/log_likelihood"] == pytest.approx(expected.mean()[0], rel=1e-9)
    assert found["test/log_likelihood_standard_error"] == pytest.approx(expected.mean()[1], rel=1e-9)
    assert found["test/kl_per_dimension"] == whole["test/kl_per_dimension"]
    assert found["test/active_units"] == whole["test/active_units"]
    assert found["test/mutual_information"] != whole["test/mutual_information"]
    assert found["test/mutual_information"] + found["test/marginal_kl"] == pytest.approx(
        sum(whole["test/kl_per_dimension"])
    )
    evaluated(finished, "images=50")
    protocol = json.loads((finished / "evaluation.json").read_text())["protocol"]
    assert (protocol["images"], protocol["all_images"], protocol["posterior_images"]) == (50, False, 1000)
    evaluated(finished, "images=1001")
    protocol = json.loads((finished / "evaluation.json").read_text())["protocol"]
    assert (protocol["images"], protocol["all_images"]) == (1000, True)


def test_a_protocol_chooses_images_and_samples_and_a_key_overrides_it() -> None:
    def chosen(*overrides: str) -> tuple[int, int | None]:
        with composing():
            cfg = compose("evaluate", ["run=run", *overrides])
        return cfg.samples, cfg.images

    assert chosen() == chosen("protocol=quick") == (1000, 1000)
    assert chosen("protocol=burda") == (5000, None)
    assert chosen("samples=5000") == (5000, 1000)
    assert chosen("protocol=burda", "images=100") == (5000, 100)


def test_log_p_has_the_trainers_precision(finished: Path) -> None:
    single, mixed = (evaluated(finished, "images=50", *more) for more in ([], ["trainer.precision=bf16-mixed"]))
    protocol = json.loads((finished / "evaluation.json").read_text())["protocol"]
    assert (protocol["precision"], protocol["trainer_precision"]) == ("float32", "bf16-mixed")
    assert mixed["test/log_likelihood"] != single["test/log_likelihood"]
    assert mixed["test/log_likelihood"] == pytest.approx(single["test/log_likelihood"], abs=0.05)


def test_few_images_give_the_mutual_information_of_a_density_without_a_formula(
    composed: Compose, tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("INFO")
    train(
        composed(*SMALL, "trainer.max_epochs=1", "posterior=planar", "callbacks.figures=null", "callbacks.probe=null")
    )
    run = tmp_path / "run"
    assert "test/mutual_information" not in evaluated(run, "images=201", "samples=0")
    (said,) = (message for message in caplog.messages if "mutual information" in message)
    assert said.endswith("images=200 gives it")
    found = evaluated(run, "images=50", "samples=0")
    assert found["test/mutual_information"] + found["test/marginal_kl"] == pytest.approx(
        sum(found["test/kl_per_dimension"])
    )
    assert 0 < found["test/mutual_information"] <= math.log(50)
    assert json.loads((run / "evaluation.json").read_text())["protocol"]["posterior_images"] == 50
    assert "test, 50 images" in capsys.readouterr().out


def test_other_splits_are_evaluated_without_a_look_at_the_test_images(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: ImageDataModule) -> None:
        raise AssertionError("the test images are looked at")

    monkeypatch.setattr(ImageDataModule, "test_dataloader", refuse)
    stored = metrics_of(finished)
    val, train_ = (evaluated(finished, f"split={split}", "probe_C=[0.1,1]") for split in ("val", "train"))
    for name in ("val/loss", "val/recon", "val/kl"):
        assert val[name] == stored[name]
    for split, found in (("val", val), ("train", train_)):
        assert {name.partition("/")[0] for name in found} == {split, "chosen_probe"}
        assert {"chosen_probe/C", "chosen_probe/train_acc", "chosen_probe/val_acc"} <= set(found)
        assert "chosen_probe/test_acc" not in found
        assert found[f"{split}/elbo"] == pytest.approx(-found[f"{split}/loss"], rel=0.005)
    # 3,000 and 1,000 images of one distribution.
    assert train_["train/loss"] == pytest.approx(val["val/loss"], rel=0.03)
    assert json.loads((finished / "evaluation.json").read_text())["protocol"]["images"] == 1000


def test_validation_chooses_the_probes_c(finished: Path) -> None:
    strengths = [0.0001, 0.01, 1.0]
    alone = {C: evaluated(finished, "samples=0", f"probe_C={C}") for C in strengths}
    found = evaluated(finished, "samples=0", f"probe_C={strengths}")
    scores = [alone[C]["chosen_probe/val_acc"] for C in strengths]
    assert len(set(scores)) > 1
    assert found["chosen_probe/C"] == strengths[scores.index(max(scores))]
    assert found["chosen_probe/test_acc"] == pytest.approx(
        alone[found["chosen_probe/C"]]["chosen_probe/test_acc"], abs=0.01
    )
    # The run's own has C=1 and the same images.
    assert alone[1.0]["chosen_probe/test_acc"] == alone[1.0]["probe/test_acc"]


def test_without_validation_the_probe_is_the_runs_own_and_this_is_said(
    composed: Compose, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    train(composed(*SMALL, "trainer.max_epochs=1", "data.val_size=0", "callbacks.figures=null"))
    found = evaluated(tmp_path / "run", "samples=0", "probe_C=[0.1,1]")
    assert "chosen_probe/C" not in found
    assert found["probe/test_acc"] == metrics_of(tmp_path / "run")["probe/test_acc"]
    (said,) = (message for message in caplog.messages if "probe_C" in message)
    assert "no validation images" in said
    assert "C=1.0, is the only one" in said
    with pytest.raises(InputError, match="split=val: must be test or train"):
        evaluated(tmp_path / "run", "split=val")


def test_log_p_is_refused_in_half_precision(finished: Path) -> None:
    with pytest.raises(InputError, match=r"trainer\.precision=bf16-true: must be another for log p"):
        evaluated(finished, "trainer.precision=bf16-true")
    assert "test/kl_per_dimension" in evaluated(finished, "trainer.precision=bf16-true", "samples=0")


def test_a_damaged_checkpoint_is_refused_by_name(finished: Path, tmp_path: Path) -> None:
    run = shutil.copytree(finished, tmp_path / "run")
    with composing():
        cfg = compose("evaluate", [f"run='{run}'", "trainer=cpu"])
    checkpoint = run / "checkpoints/last.ckpt"
    for content in (checkpoint.read_bytes()[:5000], b"", pickle.dumps(print)):
        checkpoint.write_bytes(content)
        with pytest.raises(InputError, match=r"last\.ckpt: cannot be loaded"):
            evaluate(cfg)


def test_a_complete_run_is_left_as_it_is(finished: Path) -> None:
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    stored = OmegaConf.load(finished / CONFIG)
    assert isinstance(stored, DictConfig)
    assert train(stored) == metrics_of(finished)
    with pytest.raises(InputError, match=r"another configuration \(model\.latent_dim: 20, now 3; seed: 0, now 4\)"):
        train(OmegaConf.merge(stored, {"model": {"latent_dim": 3}, "seed": 4}))  # type: ignore[arg-type]
    assert {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()} == before


def test_a_run_can_be_started_over(composed: Compose, tmp_path: Path) -> None:
    options = [*SMALL, "trainer.max_epochs=1", "callbacks.probe=null", "callbacks.figures=null"]
    train(composed(*options))
    (tmp_path / "run/notes.txt").write_text("mine")
    again = train(composed(*options, "model.latent_dim=3", "restart=true"))
    assert metrics_of(tmp_path / "run") == again
    assert (tmp_path / "run/notes.txt").read_text() == "mine"
    assert len((tmp_path / "run/metrics.csv").read_text().splitlines()) == 3  # header, epoch, test


def test_a_run_that_was_cut_off_while_it_was_tested_is_only_tested_again(finished: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    (run / "metrics.json").unlink()
    now = OmegaConf.create((finished / CONFIG).read_text().replace(str(finished), str(run)))
    assert isinstance(now, DictConfig)
    assert losses(train(now)) == losses(metrics_of(finished))
    assert (run / "metrics.csv").read_text() == (finished / "metrics.csv").read_text()


def test_what_was_in_a_folder_before_a_run_stays(composed: Compose, tmp_path: Path) -> None:
    for name in ("figures", "checkpoints"):
        (tmp_path / "run" / name).mkdir(parents=True)
        (tmp_path / "run" / name / "mine.txt").write_text("mine")
    train(composed(*SMALL, "trainer.max_epochs=1", "callbacks.probe=null"))
    for name in ("figures", "checkpoints"):
        assert (tmp_path / "run" / name / "mine.txt").read_text() == "mine"


def test_a_moved_run_is_the_same_run(finished: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(finished, moved)
    now = OmegaConf.create((finished / CONFIG).read_text().replace(str(finished), str(moved)))
    assert isinstance(now, DictConfig)
    assert train(now) == metrics_of(finished)


def test_the_same_configuration_gives_the_same_bits_and_another_seed_others(composed: Compose) -> None:
    options = [*SMALL, "trainer.max_epochs=1", "callbacks.figures=null"]
    torch.manual_seed(1)
    first = train(composed(*options, "seed=0", run="first"))
    torch.manual_seed(2)
    torch.rand(5)
    second = train(composed(*options, "seed=0", run="second"))
    other = train(composed(*options, "seed=1", run="other"))
    assert losses(first) == losses(second)
    assert first["train/loss"] != other["train/loss"]


@pytest.mark.parametrize("precision", ["64-true", "bf16-mixed", "bf16-true"])
def test_every_precision_trains_probes_and_draws(precision: str, composed: Compose) -> None:
    options = [*SMALL, "trainer.max_epochs=1", f"trainer.precision={precision}"]
    metrics = train(composed(*options))
    in_single = train(composed(*options, "trainer.precision=32-true", run="single"))
    assert metrics["test/loss"] == pytest.approx(in_single["test/loss"], rel=0.05)


@pytest.mark.parametrize("experiment", sorted(path.stem for path in (CONF / "experiment").glob("*.yaml")))
def test_every_experiment_runs_shrunken(experiment: str, composed: Compose) -> None:
    cfg = composed(f"experiment={experiment}", "debug=fast", "trainer=cpu", "callbacks.probe.max_iter=20")
    # Experiments on full MNIST are run on the packaged digits.
    data = composed("data=mnist_5k").data
    own = {"val_size": min(cfg.data.val_size, 500), "block_size": 1, "binarisation": cfg.data.binarisation}
    cfg.data = OmegaConf.merge(data, own)
    if "gradients" in cfg.callbacks:
        cfg.callbacks.gradients.estimates = cfg.callbacks.gradients.references = 3
    metrics = train(cfg)
    assert metrics["test/loss"] > 0
    assert metrics["epochs"] == 1


def test_the_article_is_the_reference_experiment(composed: Compose) -> None:
    cfg = composed("experiment=article")
    expected = {
        "data._target_": "vae_lightning.data.MNISTDataModule",
        "data.batch_size": 64,
        "data.val_size": 0,
        "model.widths": [128],
        "model.latent_dim": 20,
        "optimizer._target_": "torch.optim.Adam",
        "optimizer.lr": 1e-3,
        "trainer.max_epochs": 10,
    }
    assert {key: OmegaConf.select(cfg, key) for key in expected} == expected


@pytest.mark.slow
@pytest.mark.mnist
def test_the_article_gives_the_articles_numbers(composed: Compose, mnist_root: Path) -> None:
    metrics = train(composed("experiment=article", f"data.root='{mnist_root}'", "trainer=cpu"))
    assert metrics["train/loss"] == pytest.approx(110.3, abs=0.9)
    assert metrics["probe/test_acc"] == pytest.approx(0.895, abs=0.012)
    assert metrics["test/loss"] == pytest.approx(109.05, abs=0.9)


# Through the commands.


def test_a_killed_run_goes_on_and_ends_with_the_same_bits(command: Command, tmp_path: Path) -> None:
    options = [*SMALL, "trainer.max_epochs=5", "callbacks.probe.every_n_epochs=2", "callbacks.figures=null"]
    assert command("train", *options, "hydra.run.dir=whole").returncode == 0
    kill_after(3, tmp_path, *options, "hydra.run.dir=cut")
    assert not (tmp_path / "cut/metrics.json").exists()
    done = command("train", *options, "hydra.run.dir=cut")
    assert done.returncode == 0, done.stderr
    assert "cut resumes after epoch" in done.stdout
    assert "epoch 1/5" not in done.stdout
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    check_same_bits(cut, whole)


def test_a_checkpoint_that_cannot_be_read_is_told_of_and_the_run_started_over(
    finished: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    (run / "metrics.json").unlink()
    (run / "checkpoints/last.ckpt").write_bytes(b"half a checkpoint")
    now = OmegaConf.create((finished / CONFIG).read_text().replace(str(finished), str(run)))
    assert isinstance(now, DictConfig)
    assert losses(train(now)) == losses(metrics_of(finished))
    assert "last.ckpt: cannot be loaded" in caplog.text


def test_train_and_evaluate_as_commands(command: Command, tmp_path: Path) -> None:
    done = command("train", *SMALL, "callbacks.probe.max_iter=1000", "model.latent_dim=2")
    assert done.returncode == 0, done.stderr
    (run,) = (tmp_path / "outputs/runs").iterdir()
    metrics = metrics_of(run)
    relative = str(run.relative_to(tmp_path))
    for shown in (
        "epoch 2/2",
        f"{metrics['test/loss']:.2f}",
        f"{metrics['probe/test_acc']:.4f}",
        f"{relative}/metrics.json",
        f"tensorboard --logdir {relative}",
        f"{relative}/figures",
    ):
        assert shown in done.stdout
    assert done.stderr == ""  # no warning that a user can do nothing about
    again = command("evaluate", f"run={relative}", "checkpoint=best", "samples=20")
    assert again.returncode == 0, again.stderr
    assert again.stderr == ""
    evaluation = json.loads((run / "evaluation.json").read_text())
    assert evaluation["protocol"]["checkpoint"] == "best"
    for shown in (
        f"{evaluation['test/log_likelihood']:.3f}",
        "over 1000 images, 20 samples each; binarisation: none",
        "of 2\n",
        "probe by validation",
    ):
        assert shown in again.stdout
    assert f"C={evaluation['chosen_probe/C']:g}" in again.stdout


def test_a_multirun_is_a_sweep(command: Command, tmp_path: Path) -> None:
    done = command(
        *("train", "-m", *SMALL, "trainer.max_epochs=1", "callbacks.probe=null", "callbacks.figures=null"),
        *("model.latent_dim=2,20", "optimizer.lr=1e-3,3e-3", "sweep.name=grid"),
    )
    assert done.returncode == 0, done.stderr
    runs = [path.parent for path in (tmp_path / "outputs/sweeps/grid").glob("*/metrics.json")]
    configs = [OmegaConf.load(run / CONFIG) for run in runs]
    assert {(c.model.latent_dim, c.optimizer.lr) for c in configs} == {(2, 1e-3), (2, 3e-3), (20, 1e-3), (20, 3e-3)}
    # A job among others gives what it gives alone.
    alone = command(
        *("train", *SMALL, "trainer.max_epochs=1", "callbacks.probe=null", "callbacks.figures=null"),
        *("model.latent_dim=20", "optimizer.lr=3e-3", "hydra.run.dir=alone"),
    )
    assert alone.returncode == 0, alone.stderr
    (last,) = (
        run
        for run, config in zip(runs, configs, strict=True)
        if (config.model.latent_dim, config.optimizer.lr) == (20, 3e-3)
    )
    assert losses(metrics_of(tmp_path / "alone")) == losses(metrics_of(last))


def test_ones_own_model_and_configuration(command: Command, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "from torch import nn\n"
        "from vae_lightning import VAE\n"
        "class Tanh(VAE):\n"
        "    def __init__(self, **arguments):\n"
        "        super().__init__(**arguments)\n"
        "        self.encoder[2] = nn.Tanh()\n"
    )
    (tmp_path / "own/model").mkdir(parents=True)
    (tmp_path / "own/model/tanh.yaml").write_text(
        "_target_: mine.Tanh\nlatent_dim: 3\noptimizer: ${optimizer}\nseed: ${seed}\n"
    )
    done = command("train", "--config-dir", "own", *SMALL, "debug=fast", "model=tanh", "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    content = torch.load(tmp_path / "run/checkpoints/last.ckpt", weights_only=True)
    assert content["hyper_parameters"]["latent_dim"] == 3
