"""A wheel installed elsewhere, used from any directory with a user's own configurations."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import SMALL

SOURCE = Path(__file__).parents[1]


@pytest.mark.slow
def test_a_wheel_trains_from_any_directory(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", tmp_path / "dist", SOURCE], check=True)
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    site = tmp_path / "site"
    subprocess.run([*pip, "install", "--no-deps", "--target", site, wheel], check=True)

    own = tmp_path / "elsewhere/own/experiment"
    own.mkdir(parents=True)
    (own / "mine.yaml").write_text("# @package _global_\nmodel:\n  latent_dim: 3\n")
    done = subprocess.run(
        [site / "bin/vae-train", "--config-dir", "own", "experiment=mine", *SMALL, "hydra.run.dir=run"],
        cwd=tmp_path / "elsewhere",
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    run = tmp_path / "elsewhere/run"
    assert (run / "metrics.json").is_file()
    assert yaml.safe_load((run / ".hydra/config.yaml").read_text())["model"]["latent_dim"] == 3
    where = subprocess.run(
        [site / "bin/vae-train", "--info", "searchpath"],
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert str(site / "vae_lightning/conf") in where.stdout
