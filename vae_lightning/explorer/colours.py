"""Colours of the labels."""

import colorsys

from vae_lightning.palette import ON_ANY_GROUND

__all__ = ["colours"]


def colours(count: int) -> list[str]:
    """Return ``count`` colours as #rrggbb; from the eleventh on they are hues, which resemble each other."""
    if count <= len(ON_ANY_GROUND):
        return [*ON_ANY_GROUND[:count]]
    hues = (colorsys.hls_to_rgb(k / count, 0.5, 0.6) for k in range(count))
    return ["#" + "".join(f"{round(255 * part):02x}" for part in hue) for hue in hues]
