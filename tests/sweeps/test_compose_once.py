"""The loader that composes each job once: the same configurations as Hydra's own, with less work."""

import pickle
from pathlib import Path
from typing import Any

import pytest
from conftest import Compose
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import ConfigRepository
from hydra.core.config_loader import ConfigLoader
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from vae_lightning.sweeps.compose_once import ComposeOnce
from vae_lightning.sweeps.composing import composed_job, load_job

JOBS = [["seed=1"], ["seed=2", "model=conv"], ["seed=1", "+callbacks.probe.C=[0.1,1]", "debug=fast"], ["seed=1"]]


@pytest.fixture
def loader(multirun: Compose) -> ConfigLoader:
    return GlobalHydra.instance().config_loader()


def same(found: DictConfig, expected: DictConfig) -> None:
    assert OmegaConf.to_container(found) == OmegaConf.to_container(expected)
    assert OmegaConf.get_type(found, "hydra") is OmegaConf.get_type(expected, "hydra")
    for flag in ("readonly", "struct"):
        assert found._get_flag(flag) == expected._get_flag(flag)
        assert found.hydra._get_flag(flag) == expected.hydra._get_flag(flag)
    assert OmegaConf.get_cache(found) == OmegaConf.get_cache(expected)  # the time, which all jobs share


def test_each_configuration_is_that_of_hydras_own_loader(loader: ConfigLoader, multirun: Compose) -> None:
    sweep, once = multirun("model.latent_dim=3"), ComposeOnce(loader)
    _ = sweep.hydra.sweep.dir, sweep.sweep.name
    for _ in range(3):
        for job in JOBS:
            same(once.load_sweep_config(sweep, job), loader.load_sweep_config(sweep, job))


def test_a_job_is_composed_for_its_check_and_its_launch_together(
    loader: ConfigLoader, multirun: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    composed: list[list[str]] = []
    load = ConfigLoaderImpl.load_sweep_config

    def counting(self: ConfigLoaderImpl, sweep: DictConfig, overrides: list[str]) -> DictConfig:
        composed.append(overrides)
        return load(self, sweep, overrides)

    sweep, once = multirun("sweep.axes=[seed]"), ComposeOnce(loader)
    monkeypatch.setattr(ConfigLoaderImpl, "load_sweep_config", counting)
    checked = [load_job(once, sweep, job, number) for number, job in enumerate(JOBS[:3])]
    for cfg in checked:
        with composed_job(cfg):  # which makes Hydra's part read-only
            cfg.seed = 99
    launched = [load_job(once, sweep, job, number) for number, job in enumerate(JOBS[:3], 5)]
    assert len(composed) == 3
    assert [cfg.hydra.job.num for cfg in launched] == [5, 6, 7]
    assert [cfg.seed for cfg in launched] == [1, 2, 1]
    # A worker gets Hydra's own loader, which composes the worker's job.
    sent = pickle.loads(pickle.dumps(once))
    assert type(sent) is ConfigLoaderImpl
    assert sent.load_sweep_config(sweep, JOBS[0]).seed == 1
    assert len(composed) == 4


def test_a_file_is_read_once_wherever_it_lies(
    loader: ConfigLoader, multirun: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    load = ConfigRepository.load_config

    def counting(self: ConfigRepository, config_path: str) -> Any:
        read.append(config_path)
        return load(self, config_path)

    for folder in ("mine", "another"):
        (tmp_path / folder / "experiment").mkdir(parents=True)
        (tmp_path / folder / "experiment/own.yaml").write_text(f"# @package _global_\nrun_dir: {folder}\n")
    sweeps = [multirun(f"hydra.searchpath=[file://{tmp_path / folder}]") for folder in ("mine", "another")]
    once = ComposeOnce(loader)
    monkeypatch.setattr(ConfigRepository, "load_config", counting)
    for _ in range(2):
        for sweep, folder in zip(sweeps, ("mine", "another"), strict=True):
            for seed in (1, 2):
                # The jobs of two sweeps differ in their overrides, as the keys of what is kept.
                cfg = once.load_sweep_config(sweep, [f"seed={seed}", "experiment=own", f"sweep.name={folder}"])
                assert (cfg.run_dir, cfg.seed) == (folder, seed)
    assert read.count("experiment/own") == 2
    assert read.count("model/mlp") == 2  # of each search path
