"""Colours of the labels."""

import colorsys

__all__ = ["colours"]

# Ten that the colour-blind tell apart, after Okabe and Ito, on a light and on a dark ground.
TEN = (*("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9", "#b8a800", "#7a5195", "#8c8c8c", "#a65628"),)


def colours(count: int) -> list[str]:
    """Return ``count`` colours as #rrggbb; from the eleventh on they are hues, which resemble each other."""
    if count <= len(TEN):
        return [*TEN[:count]]
    hues = (colorsys.hls_to_rgb(k / count, 0.5, 0.6) for k in range(count))
    return ["#" + "".join(f"{round(255 * part):02x}" for part in hue) for hue in hues]
