"""Colours that stay apart for the colour-blind, and marker shapes for more than ten classes."""

__all__ = ["COLOURS", "MARKERS", "ON_ANY_GROUND"]

# The first six are close to those of Okabe and Ito (Color Universal Design, 2008; https://jfly.uni-koeln.de/color), a
# little darker, so that all can be read on white. A search over the other four and small changes of the six has
# maximised the least distance between two colours in CIELAB: 30 in normal vision, deuteranopia and protanopia, where
# matplotlib's tab10 has 5.
COLOURS = (
    *("#045598", "#e99f04", "#047c58", "#b04f00", "#db9abb"),  # blue, orange, green, vermilion, pink
    *("#3eb0fc", "#39c571", "#6d0c06", "#0770f1", "#2b3648"),  # sky, light green, dark red, bright blue, slate
)
# Found in the same way, for pages that may be light or dark: the least distance is 29.
ON_ANY_GROUND = (
    *("#1053cc", "#faa500", "#19c47e", "#bd6412", "#b69fbb"),  # blue, orange, green, brown, mauve
    *("#30a6f8", "#3a27ff", "#77525e", "#824928", "#6a4e8e"),  # sky, ultramarine, wine, chestnut, violet
)
MARKERS = "osD^vP*X<>pH"
