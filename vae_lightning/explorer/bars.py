"""Small charts as SVG and HTML; they hold numbers alone."""

from collections.abc import Sequence

from torch import Tensor

__all__ = ["posterior_bars", "probability_bars"]

# The chart of a posterior: the most numbers that it shows, the width of each, and its height, in pixels.
MOST, WIDTH, HEIGHT = 40, 14, 70
# The most classes whose probabilities are shown.
CLASSES = 10


def posterior_bars(mean: Tensor, std: Tensor, scale: Tensor) -> str:
    """Return the means ± standard deviations of a posterior, over the prior's range.

    Arguments:
        mean: ``(size,)``, from the left to the right.
        std: likewise.
        scale: the lower and upper end of the prior's range, ``(2, size)``.
    """
    low, high = scale.double()
    unit = (high - low).clamp(min=1e-9)
    heights = [((values.double() - low) / unit).clamp(-0.1, 1.1).tolist() for values in (mean, mean - std, mean + std)]
    parts = []
    for k, (middle, bottom, top) in enumerate(zip(*heights, strict=True)):
        if k == MOST:
            break
        x, (y, below, above) = (k + 0.5) * WIDTH, (_up(value) for value in (middle, bottom, top))
        parts.append(
            f'<path class="range" d="M{x} {_up(0):.1f}V{_up(1):.1f}"/>'
            f'<path class="deviation" d="M{x} {below:.1f}V{above:.1f}"/>'
            f'<circle class="mean" cx="{x}" cy="{y:.1f}" r="3.2"/>'
        )
    width = min(len(mean), MOST) * WIDTH
    return (
        f'<svg class="posterior" viewBox="0 0 {width} {HEIGHT}" style="max-width:{2 * width}px">{"".join(parts)}</svg>'
    )


def _up(share: float) -> float:
    return HEIGHT * (0.9 - 0.8 * share)


def probability_bars(classes: Sequence[int], probabilities: Sequence[float], colours: Sequence[str]) -> str:
    """Return the probabilities of classes: of all in their order, or of the ten most probable ones."""
    rows = [*zip(classes, probabilities, colours, strict=True)]
    if len(rows) > CLASSES:
        rows = sorted(rows, key=lambda row: -row[1])[:CLASSES]
    return "".join(
        f'<div class="probability"><span>{label}</span><span class="track">'
        f'<span style="width:{100 * share:.1f}%;background:{colour}"></span></span><span>{share:.1%}</span></div>'
        for label, share, colour in rows
    )
