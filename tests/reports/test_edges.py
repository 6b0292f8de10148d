"""What a sweep says at its end of the best configuration."""

from pathlib import Path

import pytest
from conftest import fake_job
from omegaconf import OmegaConf

from vae_lightning.reports.report import closing_lines


@pytest.mark.parametrize(
    ("losses", "said"),
    [
        ({2: 3.0, 5: 2.0, 20: 1.0}, "at the edge of the grid: latent_dim=20 is its largest value"),
        ({2: 1.0, 5: 2.0, 20: 3.0}, "at the edge of the grid: latent_dim=2 is its smallest value"),
        ({2: 3.0, 5: 1.0, 20: 2.0}, None),
        ({2: 3.0, 5: 1.0}, None),
        ({"a": 3.0, "b": 2.0, "c": 1.0}, None),
    ],
)
def test_the_last_lines_tell_of_a_best_value_at_the_edge_of_a_grid(
    losses: dict[int | str, float], said: str | None, tmp_path: Path
) -> None:
    for value, loss in losses.items():
        fake_job(tmp_path, {"latent_dim": value}, **{"val/loss": loss})
    assert "edge" not in closing_lines(tmp_path)  # it is not known to be a grid
    for name in ("vae_grid_sweeper.GridSweeper", "other.Search"):
        stored = {"hydra": {"sweeper": {"_target_": f"hydra_plugins.{name}"}}}
        OmegaConf.save(OmegaConf.create(stored), tmp_path / "multirun.yaml")
        lines = closing_lines(tmp_path).splitlines()
        expected = said if name.endswith("GridSweeper") else None
        assert [line.strip() for line in lines if "edge" in line] == ([expected] if expected else [])


def test_values_whose_jobs_were_pruned_are_of_the_grid(tmp_path: Path) -> None:
    for value, loss in {2: 3.0, 5: 2.0, 20: 1.0}.items():
        fake_job(tmp_path, {"latent_dim": value}, **{"val/loss": loss})
    pruned = fake_job(tmp_path, {"latent_dim": 40})
    (pruned / "pruned.json").write_text('{"epoch": 1, "epochs": 2}')
    stored = {"hydra": {"sweeper": {"_target_": "hydra_plugins.vae_grid_sweeper.GridSweeper"}}}
    OmegaConf.save(OmegaConf.create(stored), tmp_path / "multirun.yaml")
    assert "edge" not in closing_lines(tmp_path)
