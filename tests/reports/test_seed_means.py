"""The means over seeds in TensorBoard: their values, their bands, and that they replace earlier ones."""

from pathlib import Path

import pytest
from conftest import fake_job
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from vae_lightning.reports.report import write_report
from vae_lightning.reports.seed_means import FOLDER
from vae_lightning.runs.directory import job_folders
from vae_lightning.trackers.event_files import event_files


def job(sweep: Path, latent_dim: int, seed: int, losses: list[float], test: float = 9.0) -> Path:
    """Write the files of a job with these validation losses by epoch; it is in TensorBoard."""
    folder = fake_job(sweep, {"latent_dim": latent_dim, "seed": seed}, **{"val/loss": losses[-1], "test/loss": test})
    rows = [f"{epoch},{10 * (epoch + 1)},{loss}," for epoch, loss in enumerate(losses)]
    end = f"{len(losses) - 1},{10 * len(losses)},,{test}"
    (folder / "metrics.csv").write_text("\n".join(["epoch,step,val/loss,test/loss", *rows, end, ""]))
    (folder / "events.out.tfevents.1.host").touch()
    return folder


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder)).Reload()
    return {tag: [(point.step, point.value) for point in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_each_configuration_of_several_seeds_has_its_mean_and_its_band(tmp_path: Path) -> None:
    job(tmp_path, 2, 1, [5.0, 3.0, 1.0])
    job(tmp_path, 2, 2, [7.0, 3.0])  # it has stopped early
    job(tmp_path, 5, 1, [4.0, 2.0])
    jobs = job_folders(tmp_path)
    write_report(tmp_path)
    assert [folder.name for folder in (tmp_path / FOLDER).iterdir()] == ["latent_dim=2"]
    found = scalars(tmp_path / FOLDER / "latent_dim=2")
    assert found.keys() == {"val/loss", *(f"variation over seeds/val/loss/{end}" for end in ("lower", "upper"))}
    assert found["val/loss"] == [(10, 6), (20, 3)]
    assert found["variation over seeds/val/loss/lower"] == [(10, pytest.approx(6 - 2**0.5)), (20, 3)]
    assert found["variation over seeds/val/loss/upper"] == [(10, pytest.approx(6 + 2**0.5)), (20, 3)]
    assert job_folders(tmp_path) == jobs


def test_a_later_report_replaces_the_means(tmp_path: Path) -> None:
    folder = tmp_path / FOLDER / "latent_dim=2"
    for seed, loss in ((1, 2.0), (2, 4.0), (3, 9.0)):
        job(tmp_path, 2, seed, [loss, loss])
        write_report(tmp_path)
        assert folder.exists() == (seed > 1)
    assert scalars(folder)["val/loss"] == [(10, 5), (20, 5)]
    (file,) = event_files(folder)
    write_report(tmp_path)
    (again,) = event_files(folder)
    assert again.name > file.name  # TensorBoard reads a new file, after the old one
    for each in (1, 2):
        (tmp_path / f"latent_dim=2,seed={each}/metrics.json").unlink()
    write_report(tmp_path)
    assert not folder.exists()


def test_without_tensorboard_there_are_no_means(tmp_path: Path) -> None:
    for seed in (1, 2):
        (job(tmp_path, 2, seed, [1.0, 2.0]) / "events.out.tfevents.1.host").unlink()
    write_report(tmp_path)
    assert not (tmp_path / FOLDER).exists()
