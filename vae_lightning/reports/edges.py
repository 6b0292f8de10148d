"""Whether the best configuration of a grid lies at its edge, beyond which there may be a better one."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
from omegaconf import OmegaConf

from vae_lightning.reports.levels import level_text

__all__ = ["edge_lines"]

# The sweeper, as Hydra stores it in the sweep's folder; the values that a search has tried have no edge.
GRID = "hydra_plugins.vae_grid_sweeper.GridSweeper"
FEWEST = 3  # values of an axis; of two values, each is at an edge


def edge_lines(sweep: Path, jobs: pd.DataFrame, ranked: pd.DataFrame, settings: Sequence[str]) -> list[str]:
    """Return a line for each numeric axis on which the best configuration has the smallest or largest value.

    Arguments:
        sweep: the sweep's folder.
        jobs: all jobs, also those that were pruned.
        ranked: the configurations, the best first.
        settings: the columns of the axes.

    Returns:
        No line for a sweep that is not a grid, and for axes with fewer than three values.
    """
    stored = sweep / "multirun.yaml"
    if not len(ranked) or not stored.exists():
        return []
    if OmegaConf.select(OmegaConf.load(stored), "hydra.sweeper._target_") != GRID:
        return []
    lines = []
    for axis in settings:
        values = jobs[axis].tolist()
        if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
            best = ranked[axis].iloc[0]
            if len({*values}) >= FEWEST and best in (min(values), max(values)):
                which = "smallest" if best == min(values) else "largest"
                lines.append(f"at the edge of the grid: {axis}={level_text(best)} is its {which} value")
    return lines
