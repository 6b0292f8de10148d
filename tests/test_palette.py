"""The colours of pictures: apart for all eyes, and readable on white."""

from itertools import combinations

import numpy as np
import numpy.typing as npt
import pytest
from matplotlib import colormaps
from matplotlib.colors import to_rgb

from vae_lightning.palette import COLOURS, MARKERS, ON_ANY_GROUND

Colours = npt.NDArray[np.float64]

# What a dichromat sees of a linear RGB colour: A Physiologically-based Model for Simulation of Color Vision Deficiency,
# Machado, Oliveira and Fernandes, 2009, severity 1.
VISION = {
    "normal": np.eye(3),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
}
# Linear sRGB to CIE XYZ under D65.
XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)


def linear(colours: Colours) -> Colours:
    return np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)


def least_distance(colours: list[tuple[float, float, float]], vision: str) -> float:
    """The least distance of two colours in CIELAB, as seen by such eyes."""
    seen = np.clip(linear(np.array(colours)) @ VISION[vision].T, 0, 1) @ XYZ.T / XYZ.sum(1)
    f = np.where(seen > (6 / 29) ** 3, np.cbrt(seen), seen / (3 * (6 / 29) ** 2) + 4 / 29)
    lab = np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], -1)
    return min(float(np.linalg.norm(left - right)) for left, right in combinations(lab, 2))


@pytest.mark.parametrize("vision", VISION)
def test_any_two_colours_stay_apart(vision: str) -> None:
    assert least_distance([*map(to_rgb, COLOURS)], vision) > 30
    assert least_distance([*map(to_rgb, ON_ANY_GROUND)], vision) > 29


def test_the_measure_finds_colours_that_merge() -> None:
    tab10 = [*map(to_rgb, colormaps["tab10"].colors)]  # type: ignore[attr-defined]
    assert least_distance(tab10, "normal") > 25
    assert least_distance(tab10, "deuteranopia") < 10


def test_every_colour_can_be_read_on_its_ground() -> None:
    on_white, on_any = (linear(np.array([*map(to_rgb, colours)])) @ XYZ[1] for colours in (COLOURS, ON_ANY_GROUND))
    assert (1.05 / (np.concatenate([on_white, on_any]) + 0.05)).min() > 2
    assert ((on_any + 0.05) / 0.05).min() > 2


def test_colours_and_markers_are_all_different() -> None:
    assert len({*COLOURS}) == len({*ON_ANY_GROUND}) == 10
    assert len({*MARKERS}) == len(MARKERS)
