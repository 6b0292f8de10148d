"""A drawing by hand: ink on a small canvas."""

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["Drawing"]

# Half the width of the brush and the width of its soft edge, as shares of the canvas: about MNIST's strokes.
BRUSH, EDGE = 0.044, 0.045


class Drawing:
    """A grey drawing, white on black.

    Arguments:
        height: of the canvas, in pixels.
        width: likewise.

    Attributes:
        ink: ``(H, W)``, in [0, 1].
    """

    def __init__(self, height: int, width: int) -> None:
        self.ink = torch.zeros(height, width)
        self._rows = torch.arange(height)[:, None] + 0.5
        self._columns = torch.arange(width) + 0.5

    @property
    def is_empty(self) -> bool:
        """Whether there is no ink."""
        return not bool(self.ink.any())

    def clear(self) -> None:
        """Remove all ink."""
        self.ink = torch.zeros_like(self.ink)

    def stroke(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Draw a straight line with a soft, round brush.

        Arguments:
            start: x to the right and y downwards, in pixels from the upper left corner.
            end: likewise.
        """
        (x, y), dx, dy = start, end[0] - start[0], end[1] - start[1]
        right, down = self._columns - x, self._rows - y
        along = ((right * dx + down * dy) / max(dx * dx + dy * dy, 1e-12)).clamp(0, 1)
        distance = torch.hypot(right - along * dx, down - along * dy)
        side = max(self.ink.shape)
        self.ink = torch.maximum(self.ink, (0.5 + (BRUSH * side - distance) / (EDGE * side)).clamp(0, 1))

    def offset(self) -> tuple[float, float]:
        """Return how far the centre of mass is to the right of and below the middle, in pixels."""
        if self.is_empty:
            return 0.0, 0.0
        share, (height, width) = self.ink / self.ink.sum(), self.ink.shape
        return float((share * self._columns).sum() - width / 2), float((share * self._rows).sum() - height / 2)

    def centred(self) -> Tensor:
        """Return the ink, ``(H, W)``, moved so that its centre of mass is in the middle, as in MNIST's digits."""
        (right, below), (height, width) = self.offset(), self.ink.shape
        move = torch.tensor([[[1, 0, 2 * right / width], [0, 1, 2 * below / height]]])
        grid = F.affine_grid(move, [1, 1, height, width], align_corners=False)
        return F.grid_sample(self.ink[None, None], grid, align_corners=False)[0, 0]

    def as_image(self, shape: tuple[int, ...], centred: bool) -> Tensor:
        """Return the drawing as an image of another shape, ``(C, H, W)``, in [0, 1].

        Arguments:
            shape: ``(C, H, W)``.
            centred: whether to centre it by its mass.
        """
        image = (self.centred() if centred else self.ink)[None, None]
        if image.shape[2:] != shape[1:]:
            image = F.interpolate(image, size=shape[1:], mode="bilinear", antialias=True)
        return image[0].clamp(0, 1).expand(shape)
