"""The report of a sweep with odd names, damaged files, no validation, or many jobs."""

import json
import os
import time
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import fake_job

from vae_lightning.reports.report import closing_lines, report_is_due, write_report
from vae_lightning.reports.results import axis_column, read_jobs, read_sweep
from vae_lightning.runs.closing_table import closing_table
from vae_lightning.sweeps.fingerprints import complete_jobs

CURVES = "epoch,step,val/loss\n0,9,3.0\n1,18,2.0\n"


def fake_sweep(sweep: Path, axes: list[dict[str, Any]]) -> None:
    """Complete jobs with everything that the report draws."""
    for place, values in enumerate(axes):
        job = fake_job(sweep, values, **{"val/loss": 100.0 + place, "test/loss": 105.0, "probe/val_acc": 0.9})
        (job / "metrics.csv").write_text(CURVES)


# Names and values.

ODD = [("extra/sub", "job"), ("status", "val/loss"), ("why", "seconds"), ("runs", "epochs"), ("_private", "test/x")]


@pytest.mark.parametrize("names", ODD, ids=" ".join)
def test_axes_may_have_any_names(names: tuple[str, str], tmp_path: Path) -> None:
    fake_sweep(tmp_path, [dict(zip(names, values, strict=True)) for values in product("ab", (1, 2))])
    write_report(tmp_path)
    table, columns = pd.read_csv(tmp_path / "results.csv"), [axis_column(name) for name in names]
    assert table[columns].to_numpy().tolist() == [["a", 1], ["a", 2], ["b", 1], ["b", 2]]
    assert table["val/loss"].tolist() == [100.0, 101.0, 102.0, 103.0]
    assert set(table["status"]) == {"complete"}
    assert read_sweep(tmp_path).ranked[[*columns, "runs", "val/loss"]].iloc[0].tolist() == ["a", 1, 1, 100.0]
    assert f"{columns[0]}=a, {columns[1]}=1   val/loss 100.00" in closing_lines(tmp_path)
    assert {path.stem for path in tmp_path.glob("figures/*")} == {"val_loss", "probe_val_acc", "trade_off", "curves"}


@pytest.mark.parametrize("axes", [1, 3])
def test_values_that_are_no_mathematics_are_shown_as_they_are(axes: int, tmp_path: Path) -> None:
    values = ["$x_{$", "_$a$", "a\nb|<i>"]
    fake_sweep(tmp_path, [dict(zip(["_x$", "lr", "beta"][:axes], [value, 1, 2], strict=False)) for value in values])
    write_report(tmp_path)
    assert len(list(tmp_path.glob("figures/*"))) == 4
    rows = [line for line in (tmp_path / "summary.md").read_text().splitlines() if line.startswith("|")]
    assert len({line.replace("\\|", "").count("|") for line in rows[4:]}) == 1
    assert "b|<i>" not in (tmp_path / "report.html").read_text()


# Damaged files.

DAMAGE = {"empty": b"", "truncated": b'{"axes": {"lr": 1', "of another type": b"[1, 2]", "binary": b"\x89PNG\xff\x00"}


@pytest.mark.parametrize("content", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_file_costs_its_own_job_alone(content: bytes, tmp_path: Path) -> None:
    fake_sweep(tmp_path, [{"latent_dim": latent_dim} for latent_dim in range(1, 7)])
    (tmp_path / "latent_dim=3/metrics.json").unlink()
    names = ["job.json", "metrics.json", "failure.json", "metrics.csv"]
    for place, name in enumerate(names, 1):
        (tmp_path / f"latent_dim={place}" / name).write_bytes(content)
    table = write_report(tmp_path)
    assert table["status"].tolist() == ["damaged"] * 4 + ["complete"] * 2
    assert [why.partition(": is damaged (")[0] for why in table["why"]] == [*names, "", ""]
    summary = (tmp_path / "summary.md").read_text()
    assert all(f"| latent_dim={k} | damaged | {name}: is damaged" in summary for k, name in enumerate(names, 1))
    assert closing_lines(tmp_path).startswith("best       latent_dim=5   val/loss 104.00")
    assert "6.0" not in (tmp_path / "results.csv").read_text()  # although a job's value is not known


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("job.json", {"axes": ["lr"], "objective": "val/loss"}),
        ("job.json", {"axes": {"latent_dim": 2}}),
        ("metrics.json", {"val/loss": "low", "total_seconds": 1.0}),
        ("failure.json", {"error": ""}),
        ("failure.json", {}),
    ],
)
def test_a_file_must_hold_what_the_report_needs(name: str, content: object, tmp_path: Path) -> None:
    fake_job(tmp_path, {"latent_dim": 2})
    (tmp_path / "latent_dim=2" / name).write_text(json.dumps(content))
    (row,) = write_report(tmp_path).to_dict("records")
    assert (row["status"], row["why"].split(":")[0]) == ("damaged", name)


@pytest.mark.parametrize("name", ["job.json", "metrics.json"])
@pytest.mark.parametrize("content", DAMAGE.values(), ids=DAMAGE)
def test_a_sweep_runs_a_job_with_a_damaged_file_again(name: str, content: bytes, tmp_path: Path) -> None:
    fake_sweep(tmp_path, [{"latent_dim": 2}, {"latent_dim": 5}])
    (tmp_path / "latent_dim=2" / name).write_bytes(content)
    assert complete_jobs(tmp_path) == {"one"}
    (tmp_path / "latent_dim=5" / name).write_bytes(content)
    assert complete_jobs(tmp_path) == set()


# No validation.


def test_a_sweep_without_its_objective_says_so_and_what_to_do(tmp_path: Path) -> None:
    for latent_dim in (2, 5):
        fake_job(tmp_path, {"latent_dim": latent_dim}, **{"train/loss": 90.0, "test/loss": 95.0})
    write_report(tmp_path)
    page = (tmp_path / "report.html").read_text().partition('id="content">')[2].partition("</script>")[0]
    for text in ((tmp_path / "summary.md").read_text(), page, closing_lines(tmp_path)):
        assert "No complete job has val/loss (sweep.objective), so no configuration is chosen" in text
        assert "another objective (complete jobs are kept; they have train/loss)" in text
        assert "data.val_size" in text
        assert "95.0" not in text


def test_without_a_complete_job_there_is_nothing_to_choose(tmp_path: Path) -> None:
    fake_job(tmp_path, {"latent_dim": 2})
    write_report(tmp_path)
    assert "objective" not in closing_lines(tmp_path)
    assert read_jobs(tmp_path)["status"].tolist() == ["unfinished"]


# Test metrics.


def test_a_job_shows_its_validation_and_a_single_run_its_test_too(tmp_path: Path) -> None:
    metrics = {"epochs": 1.0, "fit_seconds": 1.0, "probe/val_acc": 0.8, "probe/test_acc": 0.75}
    metrics |= {f"{stage}/loss": 100.0 + place for place, stage in enumerate(("train", "val", "test"))}
    single, job = (closing_table(metrics, tmp_path, [], with_test=with_test) for with_test in (True, False))
    for number in ("102.00", "0.7500", "test"):
        assert number in single
        assert number not in job.replace(str(tmp_path), "")
    for number in ("100.00", "101.00", "0.8000"):
        assert number in job


# Many jobs.


def test_a_sweep_spends_little_of_its_time_on_reports(tmp_path: Path) -> None:
    fake_job(tmp_path, {"seed": 0}, **{"val/loss": 1.0})
    assert report_is_due(tmp_path)
    write_report(tmp_path)
    ended = time.time()
    for name, age in (("results.csv", 2.0), ("report.html", 0.0)):  # a report that took two seconds
        os.utime(tmp_path / name, (ended - age, ended - age))
    assert not report_is_due(tmp_path)
    for name, age in (("results.csv", 43.0), ("report.html", 41.0)):
        os.utime(tmp_path / name, (ended - age, ended - age))
    assert report_is_due(tmp_path)
    (tmp_path / "report.html").unlink()
    assert report_is_due(tmp_path)
    write_report(tmp_path)
    began, written = (os.stat(tmp_path / name).st_mtime for name in ("results.csv", "report.html"))
    assert began <= written
