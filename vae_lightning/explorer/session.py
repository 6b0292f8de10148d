"""What one browser tab looks at."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from vae_lightning.explorer.explored_run import ExploredRun

__all__ = ["Session", "Side"]


class Side:
    """One run in one tab.

    Attributes:
        run: the run.
        index: the selected image.
        z: the latent that is decoded, ``(size,)``: the image's mean, until it is moved.
        label: the class that the model sees; 0 for a model that sees none.
        watchers: called with what has moved the latent whenever it is moved.
    """

    def __init__(self, run: ExploredRun) -> None:
        self.run = run
        self.watchers: list[Callable[[object], None]] = []
        self.reset(0)

    def reset(self, index: int) -> None:
        """Select an image: the latent becomes its mean, and the class its own."""
        self.index, self.z = index, self.run.mean[index].clone()
        self.label = (self.run.label(index) or 0) if self.run.vae.classes is not None else 0
        self._notify(None)

    def move(self, z: Tensor, by: object = None) -> None:
        """Move the latent; ``by`` is passed to the watchers, so that what moved it need not follow."""
        self.z = z
        self._notify(by)

    def see_class(self, label: int) -> None:
        """Let the model see another class."""
        self.label = label
        self._notify(None)

    def _notify(self, by: object) -> None:
        for watcher in self.watchers:
            watcher(by)


class Session:
    """The runs of one tab.

    Attributes:
        sides: one for each run.
        linked: whether all runs have the same images, so that an image is selected in all of them.
    """

    def __init__(self, runs: Sequence[ExploredRun]) -> None:
        self.sides = [Side(run) for run in runs]
        first = runs[0].images
        self.linked = all(run.images.shape == first.shape and torch.equal(run.images, first) for run in runs)

    def select(self, side: Side, index: int) -> None:
        """Select an image of a run, and of the others if they have the same."""
        for each in self.sides if self.linked else [side]:
            each.reset(index)
