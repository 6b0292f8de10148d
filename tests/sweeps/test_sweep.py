import os
import subprocess
import sys
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import SMALL, Command, fake_job, kill_after
from omegaconf import OmegaConf

from vae_lightning.config.axes import axis_values
from vae_lightning.reports.curves import draw_sweep_curves
from vae_lightning.reports.heat_maps import draw_metrics
from vae_lightning.reports.report import write_report
from vae_lightning.reports.results import rank, read_jobs, read_sweep
from vae_lightning.sweeps.fingerprints import fingerprint, read_files
from vae_lightning.sweeps.job_name import job_name
from vae_lightning.sweeps.study import stored_study

QUICK = [*SMALL, "trainer.max_epochs=1", "callbacks.probe.max_iter=20", "callbacks.figures=null"]


# Names.


def test_a_job_is_named_by_what_varies() -> None:
    cfg = OmegaConf.create({"model": {"latent_dim": 20, "seed": 7}, "optimizer": {"lr": 1e-3}, "seed": 1})
    values = axis_values(["model.latent_dim", "optimizer.lr", "seed"], cfg)
    assert job_name(values) == "latent_dim=20,lr=0.001,seed=1"
    # Two axes that end alike keep their whole names.
    assert list(axis_values(["seed", "model.seed"], cfg)) == ["seed", "model.seed"]
    assert job_name(axis_values(None, cfg)) == "job"


@pytest.mark.parametrize(
    "value",
    [
        "a/b",
        "../../etc",
        "a b",
        "ü",
        "あ" * 100,
        "\udcff",
        "x" * 300,
        "x" * 299 + "y",
        "",
        ".",
        "[256,128]",
        "a=b",
        "\n",
        None,
        1e-10,
    ],
)
def test_odd_values_make_safe_names(value: Any) -> None:
    name = job_name({"key": value})
    assert Path(name).name == name
    assert len(name.encode()) < 200
    assert not name.startswith(".")
    assert "\n" not in name


def test_different_values_make_different_names() -> None:
    values = ["a/b", "a\\b", "a b", "a_b", "x" * 300, "x" * 299 + "y", 1, 1.5, "1,5", [1, 5], [256, 128]]
    assert len({job_name({"key": value}) for value in values}) == len(values)


def test_a_fingerprint_follows_the_files_the_environment_they_name_and_the_overrides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = [SimpleNamespace(schema="file", path=str(tmp_path)), SimpleNamespace(schema="pkg", path="hydra.conf")]
    monkeypatch.setenv("SOME_ROOT", "here")
    seen = []
    for content, root, overrides in [
        ("root: ${oc.env:SOME_ROOT}", "here", ["seed=1", "lr=2"]),
        ("root: ${oc.env:SOME_ROOT}", "there", ["seed=1", "lr=2"]),
        ("root: ${oc.env:SOME_ROOT,x}", "here", ["seed=1", "lr=2"]),
        ("root: ${oc.env:SOME_ROOT}", "here", ["seed=1", "lr=3"]),
    ]:
        (tmp_path / "train.yaml").write_text(content)
        monkeypatch.setenv("SOME_ROOT", root)
        read_files.cache_clear()  # as a new sweep does
        seen.append(fingerprint(sources, overrides))
        assert fingerprint(sources, overrides[::-1]) == seen[-1]
    assert len(set(seen)) == 4
    # Within a sweep, the files are those with which it began.
    (tmp_path / "train.yaml").write_text("root: changed")
    assert fingerprint(sources, overrides) == seen[-1]


# Results.


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Two configurations with three seeds each; the one that is better by validation is worse by test."""
    for seed, (better, worse) in enumerate([(100.0, 110.0), (102.0, 111.0), (104.0, 112.0)]):
        fake_job(tmp_path / "s", {"latent_dim": 20, "seed": seed}, **{"val/loss": better, "test/loss": 500.0 + seed})
        fake_job(tmp_path / "s", {"latent_dim": 2, "seed": seed}, **{"val/loss": worse, "test/loss": 1.0})
    return tmp_path / "s"


def test_configurations_are_ranked_by_validation_with_mean_and_deviation_over_seeds(results: Path) -> None:
    ranked = rank(read_jobs(results), ["latent_dim", "seed"], "val/loss")
    assert ranked["latent_dim"].tolist() == [20, 2]
    assert ranked["runs"].tolist() == [3, 3]
    assert ranked["val/loss"].tolist() == [102.0, 111.0]
    assert ranked["val/loss std"].tolist() == [2.0, 1.0]


def test_an_accuracy_is_to_be_high(tmp_path: Path) -> None:
    for latent_dim, accuracy in ((2, 0.5), (20, 0.9)):
        fake_job(tmp_path, {"latent_dim": latent_dim}, **{"probe/val_acc": accuracy})
    assert rank(read_jobs(tmp_path), ["latent_dim"], "probe/val_acc")["latent_dim"].tolist() == [20, 2]


def test_the_report_shows_test_numbers_of_the_chosen_configuration_alone(results: Path) -> None:
    fake_job(results, {"latent_dim": 5, "seed": 0})
    table = write_report(results)
    assert table["status"].value_counts().to_dict() == {"complete": 6, "unfinished": 1}
    assert pd.read_csv(results / "results.csv")["val/loss"].notna().sum() == 6
    summary, page = ((results / name).read_text() for name in ("summary.md", "report.html"))
    for text in (summary, page.partition('id="content">')[2].partition("</script>")[0]):
        assert "501.00 ± 1.00" in text
        assert "1.00 ± 0.00" not in text.replace("501.00 ± 1.00", "")
        assert '"test' not in text.replace('"test"', "").replace('"test/loss"', "", 1)
    assert "102.00 ± 2.00" in summary


def pictures(sweep: Path) -> set[str]:
    return {path.stem for path in sweep.glob("figures/*")}


def test_two_numeric_axes_give_heat_maps(tmp_path: Path) -> None:
    for latent_dim in (2, 20):
        for lr in (1e-3, 3e-3):
            numbers = {"val/loss": latent_dim * lr, "probe/val_acc": lr}
            fake_job(tmp_path, {"latent_dim": latent_dim, "lr": lr}, **numbers)
    write_report(tmp_path)
    assert pictures(tmp_path) == {"val_loss", "probe_val_acc", "trade_off"}


BOTH = {"val_loss", "probe_val_acc"}


@pytest.mark.parametrize(
    ("axes", "drawn"),
    [
        ({"lr": [1e-3]}, BOTH),
        ({"activation": ["relu", "silu", "gelu"]}, BOTH | {"trade_off"}),
        ({"widths": [[128], [64, 32]], "likelihood": ["bernoulli", "gaussian"]}, BOTH | {"trade_off"}),
        ({"widths": [[128], 5, None], "sure": [True, False]}, BOTH | {"trade_off"}),
        ({"latent_dim": [*range(1, 15)], "lr": [1e-5, 3e-2], "beta": [0.5, 1, 10]}, BOTH | {"trade_off"}),
        ({"latent_dim": [2, 5], "lr": [1e-3], "beta": [*range(7)]}, {"trade_off"}),  # seven heat maps are too many
        ({"seed": [1, 2]}, set()),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else "",
)
def test_any_axes_have_their_pictures(axes: dict[str, list[Any]], drawn: set[str], tmp_path: Path) -> None:
    for place, values in enumerate(product(*axes.values())):
        numbers = {"val/loss": 100.0 + place % 7, "probe/val_acc": 0.9 - place / 100}
        fake_job(tmp_path, dict(zip(axes, values, strict=True)), **numbers)
        if place == 0:
            write_report(tmp_path)  # whose pictures are not to stay
    write_report(tmp_path)
    assert pictures(tmp_path) == drawn


def test_a_heat_maps_cells_are_the_means_in_the_order_of_the_values(tmp_path: Path) -> None:
    for place, (lr, latent_dim, beta, seed) in enumerate(product([3e-3, 1e-4], [20, 3], [2, 10], [0, 1])):
        fake_job(tmp_path, {"latent_dim": latent_dim, "lr": lr, "beta": beta, "seed": seed}, **{"val/loss": place})
    ranked = rank(read_jobs(tmp_path), ["latent_dim", "lr", "beta", "seed"], "val/loss")
    ((name, _, figure),) = draw_metrics(ranked, ["latent_dim", "lr", "beta"])
    assert name == "val_loss"
    first, second, scale = figure.axes
    assert [axes.get_title() for axes in (first, second)] == ["beta=2", "beta=10"]
    assert [label.get_text() for label in first.get_yticklabels()] == ["3", "20"]
    assert [label.get_text() for label in second.get_xticklabels()] == ["0.0001", "0.003"]
    # Of both seeds; the last job of these has latent_dim=3, lr=0.0001.
    assert np.asarray(first.images[0].get_array()).tolist() == [[12.5, 4.5], [8.5, 0.5]]
    assert np.asarray(second.images[0].get_array()).tolist() == [[14.5, 6.5], [10.5, 2.5]]
    assert first.images[0].get_clim() == second.images[0].get_clim() == (0.5, 14.5)
    assert {text.get_text() for text in first.texts} == {"12.5", "4.5", "8.5", "0.5"}
    assert scale.get_xlabel() == ""


@pytest.mark.parametrize("jobs", [2, 13])
def test_the_curves_of_the_ten_best_configurations_are_in_colour_and_the_others_in_grey(
    jobs: int, tmp_path: Path
) -> None:
    for number, seed in product(range(jobs), (0, 1)):
        axes = {"widths": [number + 1, 8], "seed": seed}
        fake_job(tmp_path, axes, **{"val/loss": 1.0 + (number + 5) % jobs})
        rows = {"epoch": [0, 1, 2], "val/loss": [300.0, 2.0 + number + seed, None], "gradient/bias": [0.0, 0.1, None]}
        table = pd.DataFrame(rows | {"gradient/noise": [0.1, 0.1, None], "probe/val_acc": [None, None, 0.5]})
        table.to_csv(tmp_path / job_name(axes) / "metrics.csv", index=False)
    pruned = fake_job(tmp_path, {"widths": [99, 8], "seed": 0})
    (pruned / "pruned.json").write_text('{"epoch": 1, "epochs": 3}')
    (pruned / "metrics.csv").write_text("epoch,val/loss\n0,400\n1,300\n")
    write_report(tmp_path)
    assert pictures(tmp_path) == {"val_loss", "curves"}
    found = read_sweep(tmp_path)
    ((_, _, figure),) = draw_sweep_curves(tmp_path, found.jobs, found.settings, found.objective)
    losses, biases = figure.axes
    assert (losses.get_title(), losses.get_ylabel(), losses.get_xlabel()) == ("val/loss", "nats per image", "epoch")
    grey = [line for line in losses.lines if line.get_color() == "0.8"]
    coloured = [line for line in losses.lines if line not in grey]
    best_first = sorted(range(jobs), key=lambda number: (number + 5) % jobs)[:10]
    assert [line.get_label() for line in coloured] == [f"widths=[{number + 1}, 8]" for number in best_first]
    assert [np.asarray(line.get_ydata()).tolist() for line in coloured] == [
        [300.0, 2.5 + number] for number in best_first
    ]
    assert len(grey) == jobs - len(best_first) + 1
    assert len(losses.collections) == len(coloured)  # the bands of two seeds
    assert len(biases.lines) == len(grey) - 1 + 2 * len(coloured)  # with the noise


def test_the_first_epochs_do_not_rule_the_axis_of_a_curve(tmp_path: Path) -> None:
    job = fake_job(tmp_path, {"lr": 1}, **{"val/loss": 100.0})
    losses = [900.0, 400.0, *(110.0 - epoch for epoch in range(8))]
    (job / "metrics.csv").write_text("epoch,val/loss\n" + "".join(f"{e},{loss}\n" for e, loss in enumerate(losses)))
    found = read_sweep(tmp_path)
    ((_, _, figure),) = draw_sweep_curves(tmp_path, found.jobs, found.settings, found.objective)
    low, high = figure.axes[0].get_ylim()
    assert 100 < low < 103
    assert 110 < high < 115


def test_scattered_points_give_no_heat_map(tmp_path: Path) -> None:
    for place in range(12):
        axes = {"lr": 0.0008897001125587898 * 1.1**place, "beta": 1 / 3 + place}
        fake_job(tmp_path, axes, **{"val/loss": 100.0 + place})
    write_report(tmp_path)
    assert pictures(tmp_path) == set()


# Through the commands.


def statuses(sweep: Path) -> dict[str, str]:
    table = pd.read_csv(sweep / "results.csv")
    return dict(zip(table["job"], table["status"], strict=True))


def test_a_failed_job_leaves_the_others_alone_and_is_told_of(command: Command, tmp_path: Path) -> None:
    # A learning rate of 1e30 makes the loss infinite in the first epoch.
    sweep = tmp_path / "outputs/sweeps/s"
    done = command("train", "-m", *QUICK, "sweep.name=s", "optimizer.lr=1e-3,1e30,3e-3")
    assert done.returncode == 1
    assert statuses(sweep) == {"lr=0.001": "complete", "lr=1e+30": "failed", "lr=0.003": "complete"}
    assert "failed     outputs/sweeps/s/lr=1e+30: FloatingPointError: the loss is" in done.stderr
    assert "with optimizer.lr=1e+30" in done.stderr
    assert "Traceback" in (sweep / "lr=1e+30/train.log").read_text()
    # Again: the complete ones are skipped, the failed one is tried once more, and with a way out it is well.
    before = {path: path.stat().st_mtime_ns for path in sweep.glob("*/metrics.json")}
    again = command("train", "-m", *QUICK, "sweep.name=s", "optimizer.lr=1e-3,1e30,3e-3")
    assert again.returncode == 1
    assert "2 of 3 jobs are complete" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in sweep.glob("*/metrics.json")} == before
    # Another configuration under the same name is refused, with the difference.
    other = command("train", "-m", *QUICK, "sweep.name=s", "optimizer.lr=1e-3,3e-3", "model.latent_dim=7")
    assert other.returncode == 2
    assert "model.latent_dim: 20, now 7" in other.stderr
    assert {path: path.stat().st_mtime_ns for path in sweep.glob("*/metrics.json")} == before


def test_a_sweep_can_stop_at_the_first_failure(command: Command, tmp_path: Path) -> None:
    done = command("train", "-m", *QUICK, "sweep.name=s", "sweep.on_failure=stop", "optimizer.lr=1e30,1e-3")
    assert done.returncode == 1
    assert statuses(tmp_path / "outputs/sweeps/s") == {"lr=1e+30": "failed"}
    assert "lr=0.001 is not run" in done.stdout


@pytest.mark.usefixtures("no_torch")
def test_an_objective_of_the_test_set_is_refused(command: Command, tmp_path: Path) -> None:
    done = command("train", "-m", *QUICK, "sweep.objective=test/loss", "seed=1,2")
    assert done.returncode == 2
    assert done.stderr.startswith("error: sweep.objective=test/loss: must be a metric of training or validation")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("no_torch")
def test_a_bad_value_of_one_job_is_refused_before_the_first(command: Command, tmp_path: Path) -> None:
    done = command("train", "-m", *QUICK, "model.latent_dim=2,5,0", "sweep.name=s")
    assert done.returncode == 2
    assert done.stderr == "error: model.latent_dim=0: must be a whole number of at least 1\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_an_optuna_search_survives_failures_and_an_interruption_and_names_its_best(
    command: Command, tmp_path: Path
) -> None:
    # Learning rates of 1e20 and more diverge.
    search = [
        *("train", "-m", "experiment=search", *QUICK, "sweep.name=s"),
        *("optimizer.lr=choice(1e-3,3e-3,1e20,1e30)", "model.latent_dim=range(2,30)"),
    ]
    first = command(*search, "hydra.sweeper.n_trials=5", "hydra.sweeper.sampler.seed=1")
    sweep = tmp_path / "outputs/sweeps/s"
    assert len(statuses(sweep)) == 5, first.stderr
    again = command(*search, "hydra.sweeper.n_trials=8")
    table = pd.read_csv(sweep / "results.csv")
    assert 5 < len(table) <= 8, again.stderr  # two trials may choose the same
    assert set(table["status"]) == {"complete", "failed"}
    assert set(table[table["status"] == "failed"]["lr"]) <= {1e20, 1e30}
    assert first.returncode == again.returncode == 1
    study = stored_study(sweep)
    assert study is not None
    assert study.best_value == table["val/loss"].min()
    assert len(study.trials) == 8


@pytest.mark.slow
def test_a_killed_sweep_goes_on_and_ends_with_the_same_bits(command: Command, tmp_path: Path) -> None:
    options = [*QUICK, "trainer.max_epochs=3", "model.latent_dim=2,5", "seed=1,2"]
    assert command("train", "-m", *options, "sweep.name=whole").returncode == 0
    for epochs in (2, 5):  # in the first job, and in a later one
        kill_after(epochs, tmp_path, "-m", *options, "sweep.name=cut")
    done = command("train", "-m", *options, "sweep.name=cut")
    assert done.returncode == 0, done.stderr
    assert "of 4 jobs are complete" in done.stdout
    assert "resumes after epoch" in done.stdout
    whole, cut = (
        pd.read_csv(tmp_path / f"outputs/sweeps/{name}/results.csv").drop(
            columns=["seconds", "fit_seconds", "total_seconds", "speed/step_seconds"]
        )
        for name in ("whole", "cut")
    )
    pd.testing.assert_frame_equal(whole, cut, check_exact=True)


def test_vae_report_writes_the_tables_again(results: Path) -> None:
    command = [sys.executable, "-m", "vae_lightning.commands.report"]
    done = subprocess.run([*command, "s"], capture_output=True, text=True, cwd=results.parent)
    assert (done.returncode, done.stderr) == (0, "")
    tables, closing = done.stdout.rsplit("\n\n", 1)
    assert tables.strip() == (results / "summary.md").read_text().strip()
    assert closing.splitlines() == [
        "best       latent_dim=20   val/loss 102.00 ± 2.00",
        "test       test/loss 501.00 ± 1.00",
        "second     latent_dim=2    val/loss 111.00 ± 1.00",
        "results    s/results.csv",
        "report     s/report.html",
    ]
    refused = subprocess.run([*command, results / "nowhere"], capture_output=True, text=True)
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert refused.stderr.startswith("error: ")


def test_a_terminal_without_utf8_shows_what_it_can(results: Path) -> None:
    sweep = results.rename(results.with_name("s=1"))
    command = [sys.executable, "-m", "vae_lightning.commands.report", sweep.name]
    ascii_only = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=results.parent, env=ascii_only)
    assert (done.returncode, done.stderr) == (0, "")
    assert "val/loss 102.00 \\xb1 2.00" in done.stdout
    assert "102.00 ± 2.00" in (sweep / "summary.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("arguments", [["report", "s"], ["evaluate", "--help"]])
def test_a_reader_may_leave_early(arguments: list[str], results: Path) -> None:
    """As ``| head`` does, here before the first line."""
    reading, writing = os.pipe()
    command = [sys.executable, "-m", f"vae_lightning.commands.{arguments[0]}", *arguments[1:]]
    with subprocess.Popen(command, stdout=writing, stderr=subprocess.PIPE, text=True, cwd=results.parent) as process:
        os.close(writing)
        os.close(reading)
        assert process.stderr is not None
        assert process.stderr.read() == ""
    assert process.returncode == 1
