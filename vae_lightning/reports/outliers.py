"""The range of a picture's axis, without the values of configurations that diverged."""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

__all__ = ["window"]


def window(values: Iterable[float], higher: bool) -> tuple[tuple[float, float], npt.NDArray[np.bool_]]:
    """Return the range of an axis and which values lie beyond it, because they would hide the others' differences.

    The range has all good values; bad ones end at three times the interquartile range beyond the worse quartile.

    Arguments:
        values: finite numbers, at least one.
        higher: whether higher is better.
    """
    given = np.array([*values], dtype=float)
    costs = -given if higher else given
    best, quartiles = costs.min(), np.quantile(costs, [0.25, 0.75])
    worst = min(costs.max(), quartiles[1] + 3 * np.ptp(quartiles))
    worst = costs.max() if worst == best else worst
    margin = 0.06 * (worst - best) or 0.05 * abs(best) or 0.1
    low, high = float(best - margin), float(worst + margin)
    return (-high, -low) if higher else (low, high), costs > high
