"""The bookkeeping of a sweep: the jobs that run, the records of failures, and sweeps that are started again."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from conftest import Compose, fake_job
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from vae_lightning import InputError
from vae_lightning.reports.results import read_jobs
from vae_lightning.runs.directory import CONFIG, FAILURE, JOB, METRICS, locked
from vae_lightning.sweeps import job_name  # noqa: F401  # registers its resolver
from vae_lightning.sweeps.callback import SweepCallback
from vae_lightning.sweeps.composing import composed_job, load_job
from vae_lightning.sweeps.fingerprints import fingerprint
from vae_lightning.sweeps.grid import remaining_jobs
from vae_lightning.sweeps.jobs import job_description, lost_job, run_job

METRIC = {"val/loss": 3.0, "total_seconds": 1.0}


@contextmanager
def job(multirun: Compose, *overrides: str) -> Iterator[DictConfig]:
    """The configuration of a job that is named by its seed, as Hydra has it while the job runs."""
    with composed_job(multirun("sweep.axes=[seed]", *overrides)) as cfg:
        yield cfg


def complete(cfg: DictConfig, report: object) -> Mapping[str, float]:
    """Write a complete run's files, as a successful training does."""
    run = Path(cfg.run_dir)
    (run / CONFIG).parent.mkdir(parents=True, exist_ok=True)
    (run / CONFIG).write_text("seed: 1")
    (run / METRICS).write_text(json.dumps(METRIC))
    return METRIC


def fail(cfg: DictConfig, report: object) -> Mapping[str, float]:
    raise FloatingPointError("the loss is nan")


def never(cfg: DictConfig, report: object) -> Mapping[str, float]:
    pytest.fail("the job must not run")


def contents(folder: Path) -> dict[Path, str]:
    return {path: path.read_text() for path in folder.rglob("*") if path.is_file()}


# Failures.


def test_after_a_failure_the_next_job_runs_unless_the_sweep_is_to_stop(multirun: Compose, tmp_path: Path) -> None:
    with job(multirun, "seed=1") as cfg:
        assert run_job(cfg, fail) is None
    with job(multirun, "seed=2", "sweep.on_failure=stop") as cfg:
        assert run_job(cfg, complete) == 3.0
    with job(multirun, "seed=3", "sweep.on_failure=stop") as cfg:
        assert run_job(cfg, fail) is None
    with job(multirun, "seed=4", "sweep.on_failure=stop") as cfg:
        assert run_job(cfg, never) is None
    table = read_jobs(tmp_path / "s").set_index("job")
    assert table["status"].to_dict() == {"seed=1": "failed", "seed=2": "complete", "seed=3": "failed"}
    assert table.loc["seed=3", "why"] == "FloatingPointError: the loss is nan"
    assert (tmp_path / "s/summary.md").exists()  # since the first job; written again as time permits


@pytest.mark.parametrize(
    ("subdir", "names"),
    [
        ("a/${seed}/${job_name:${sweep.axes}}", ["a/1/seed=1", "a/2/seed=2"]),
        ("${hydra.job.num}", ["0", "1"]),
        ("by_number/${hydra:job.id}", ["by_number/0", "by_number/1"]),
    ],
)
def test_the_folders_of_jobs_lie_at_any_depth(subdir: str, names: list[str], multirun: Compose, tmp_path: Path) -> None:
    config, loader = multirun(f"hydra.sweep.subdir='{subdir}'", "sweep.on_failure=stop"), GlobalHydra.instance()
    jobs = [[f"seed={seed}", "sweep.axes=[seed]", "sweep.on_failure=stop"] for seed in (1, 2, 3)]
    for number, (overrides, train) in enumerate(zip(jobs, (complete, fail, never), strict=True)):
        with composed_job(load_job(loader.config_loader(), config, overrides, number)) as cfg:
            run_job(cfg, train)
    assert read_jobs(tmp_path / "s")["job"].tolist() == names
    assert read_jobs(tmp_path / "s")["status"].tolist() == ["complete", "failed"]
    assert (tmp_path / "s/report.html").exists()
    # Complete jobs are left out, unless the others would take their numbers, and so their folders.
    (tmp_path / "s" / names[0] / CONFIG).unlink()
    remaining = remaining_jobs(loader.config_loader(), config, jobs)
    assert remaining == (jobs if "job." in subdir else jobs[1:])


@pytest.mark.parametrize(
    ("subdir", "said"),
    [
        ("../x", "must be a folder within the sweep's"),
        ("/x", "must be a folder within the sweep's"),
        (".", "must be a folder within the sweep's"),
        ("one", "must be another folder for each job"),
    ],
)
def test_a_folder_outside_the_sweep_or_of_two_jobs_is_refused(
    subdir: str, said: str, multirun: Compose, tmp_path: Path
) -> None:
    config = multirun(f"hydra.sweep.subdir={subdir}")
    with pytest.raises(InputError, match=f"hydra.sweep.subdir={subdir}: {said}"):
        remaining_jobs(GlobalHydra.instance().config_loader(), config, [["seed=1"], ["seed=2"]])
    assert list(tmp_path.iterdir()) == []


def test_a_job_that_is_spelled_in_two_ways_runs_once(multirun: Compose) -> None:
    jobs = [["sweep.axes=[seed]", *overrides] for overrides in (["seed=0"], [], ["seed=1"])]
    assert remaining_jobs(GlobalHydra.instance().config_loader(), multirun(), jobs) == [jobs[0], jobs[2]]


def test_a_sweep_that_stopped_runs_its_jobs_when_it_is_started_again(multirun: Compose, tmp_path: Path) -> None:
    with job(multirun, "seed=1", "sweep.on_failure=stop") as cfg:
        run_job(cfg, fail)
    SweepCallback().on_multirun_start(multirun("seed=1,2", "sweep.on_failure=stop"))
    with job(multirun, "seed=2", "sweep.on_failure=stop") as cfg:
        assert run_job(cfg, complete) == 3.0


def test_a_job_of_another_configuration_is_refused_and_stays_as_it_is(multirun: Compose, tmp_path: Path) -> None:
    def refuse(cfg: DictConfig, report: object) -> Mapping[str, float]:
        raise InputError("holds a run of another configuration")

    with job(multirun, "seed=1") as cfg:
        run_job(cfg, complete)
    before = contents(tmp_path)
    with (
        job(multirun, "seed=1", "sweep.objective=val/kl") as cfg,
        pytest.raises(InputError, match="another configuration"),
    ):
        run_job(cfg, refuse)
    assert contents(tmp_path) == before


def test_a_job_that_is_complete_already_does_not_write_the_report_again(multirun: Compose, tmp_path: Path) -> None:
    with job(multirun, "seed=1") as cfg:
        assert run_job(cfg, complete) == 3.0
        (tmp_path / "s/results.csv").unlink()
        assert run_job(cfg, complete) == 3.0
    assert not (tmp_path / "s/results.csv").exists()


@pytest.mark.parametrize("was_complete", [False, True])
def test_a_worker_that_dies_is_a_failure_unless_its_job_was_complete(
    was_complete: bool, multirun: Compose, tmp_path: Path
) -> None:
    folder = tmp_path / "s/seed=1"
    if was_complete:
        with job(multirun, "seed=1") as cfg:
            run_job(cfg, complete)
    before = contents(folder)
    overrides = ["seed=1", "sweep.axes=[seed]"]
    lost_job(GlobalHydra.instance().config_loader(), multirun(), overrides, 0, RuntimeError("killed\nat once"))
    if was_complete:
        assert contents(folder) == before
    else:
        why = "its worker died (RuntimeError: killed); run the sweep again"
        assert json.loads((folder / FAILURE).read_text())["error"].startswith(why)
        assert json.loads((folder / JOB).read_text())["axes"] == {"seed": 1}


# Sweeps that are started again.


def write_jobs(sweep: Path, **fingerprints: str) -> None:
    """A complete job, a failed one, and one that was cut off."""
    for name, file in (("complete", METRICS), ("failed", FAILURE), ("cut_off", CONFIG)):
        (sweep / name / file).parent.mkdir(parents=True, exist_ok=True)
        (sweep / name / file).write_text("{}")
        (sweep / name / JOB).write_text(json.dumps({"fingerprint": fingerprints.get(name, name)}))


def test_what_killed_writes_have_left_is_cleared_but_not_under_a_job_at_work(multirun: Compose, tmp_path: Path) -> None:
    sweep = tmp_path / "s"
    write_jobs(sweep)
    left = ["results.csv.0123abcd.part", "figures/val_loss.png.0123abcd.part", "complete/checkpoints/last.ckpt.part"]
    left += ["new/job.json.0123abcd.part"]
    kept = ["cut_off/checkpoints/last.ckpt.part", "complete/mine.part"]
    for name in left + kept:
        (sweep / name).parent.mkdir(parents=True, exist_ok=True)
        (sweep / name).touch()
    with locked(sweep / "cut_off"):
        (sweep / kept[0]).touch()
        SweepCallback().on_multirun_start(multirun())
    assert {str(path.relative_to(sweep)) for path in sweep.rglob("*.part")} == {*kept}


def test_the_axes_of_a_sweep_are_the_overrides_with_several_values(multirun: Compose) -> None:
    config = multirun("seed=1,2", "optimizer.lr=3e-3", "model.latent_dim=range(2,5)")
    SweepCallback().on_multirun_start(config)
    assert config.hydra.overrides.task[-1] == "sweep.axes=[seed,model.latent_dim]"


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["hydra.launcher._target_=os.system"], "hydra.launcher._target_=os.system: must be a plugin of Hydra"),
        (["hydra.launcher=null"], "hydra.launcher._target_=None: must be a plugin of Hydra"),
        (["hydra.sweeper._target_=os.system"], "hydra.sweeper._target_=os.system: must be a plugin of Hydra"),
        (["hydra.sweeper.max_batch_size=0"], "hydra.sweeper.max_batch_size=0: must be a whole number of at least 1"),
        (["hydra.sweeper.params=3"], "hydra.sweeper.params=3: must be a mapping of keys"),
        (["resume=x"], "resume=x: must be without -m; to resume a sweep, repeat its command"),
        (["resume=x,y"], "resume: must not differ between the jobs of a sweep"),
        (["run_dir=x"], "run_dir: must not differ between the jobs of a sweep"),
        (["sweep.name=a,b"], "sweep.name: must not differ between the jobs of a sweep"),
        (["~sweep.name"], "sweep.name: must not be removed"),
    ],
)
def test_settings_that_no_sweep_can_have_are_refused(
    overrides: list[str], said: str, multirun: Compose, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        SweepCallback().on_multirun_start(multirun("seed=1,2", *overrides))
    error = capsys.readouterr().err
    assert error.startswith(f"error: {said}")
    assert error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_complete_jobs_of_a_grid_are_left_out_unless_they_are_to_be_started_over(
    multirun: Compose, tmp_path: Path
) -> None:
    config, loader = multirun(), GlobalHydra.instance().config_loader()
    ways = (["seed=1"], ["seed=2"], ["seed=3"], ["seed=1", "restart=true"])
    jobs = [["sweep.axes=[seed]", *overrides] for overrides in ways]
    sources = config.hydra.runtime.config_sources
    found = [fingerprint(sources, overrides) for overrides in jobs]
    write_jobs(tmp_path / "s", complete=found[0], failed=found[1], cut_off=found[2])
    assert remaining_jobs(loader, config, jobs[:3]) == jobs[1:3]
    (tmp_path / "s/failed/job.json").write_text(json.dumps({"fingerprint": found[3]}))
    (tmp_path / "s/failed/metrics.json").write_text("{}")
    assert remaining_jobs(loader, config, jobs[3:]) == jobs[3:]


def test_a_jobs_description_recognises_it_again(multirun: Compose) -> None:
    config = multirun()
    with job(multirun, "seed=5") as cfg:
        description: dict[str, Any] = job_description(cfg)
    assert description["axes"] == {"seed": 5}
    assert description["objective"] == "val/loss"
    sources = config.hydra.runtime.config_sources
    assert description["fingerprint"] == fingerprint(sources, ["sweep.name=s", "sweep.axes=[seed]", "seed=5"])


def test_a_job_that_another_command_runs_is_no_failure_of_this_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_job(tmp_path, {"seed": 1}, **{"val/loss": 1.0})
    running = fake_job(tmp_path, {"seed": 2})
    config = OmegaConf.create({"hydra": {"sweep": {"dir": str(tmp_path)}}})
    with locked(running):
        SweepCallback().on_multirun_end(config)
    with pytest.raises(SystemExit) as ended:
        SweepCallback().on_multirun_end(config)
    assert ended.value.code == 1
    assert capsys.readouterr().err.count("seed=2: still running, or interrupted") == 2
