"""Samples of the prior."""

from nicegui import ui

from vae_lightning.evaluation.pictures import Picture
from vae_lightning.explorer.data_url import data_url
from vae_lightning.explorer.explored_run import ExploredRun
from vae_lightning.explorer.frames import Frames
from vae_lightning.explorer.image_element import ImageElement
from vae_lightning.explorer.session import Session

__all__ = ["SamplesPanel"]

# Images along a side.
SIDE = 8
ALL = "all"


class SamplesPanel:
    """A grid of samples for each run, from the same noise where the runs have the same seed.

    Arguments:
        session: the tab.
    """

    def __init__(self, session: Session) -> None:
        self._draw, self._class = 0, ALL
        classes = max(side.run.vae.classes or 0 for side in session.sides)
        with ui.row().classes("tools"):
            ui.button("Again", icon="refresh", on_click=self._again).props("unelevated no-caps")
            if classes:
                select = ui.select([ALL, *map(str, range(classes))], value=ALL, label="class")
                select.props("dense outlined").classes("class").on_value_change(lambda event: self._of(event.value))
        with ui.element("div").classes("sides"):
            self._frames = []
            for side in session.sides:
                with ui.column().classes("side"):
                    if len(session.sides) > 1:
                        ui.label(side.run.name).classes("run-name")
                    image = ImageElement(f"{SIDE * SIDE} samples from the prior").classes("samples").mark("samples")

                def compute(asked: tuple[int, str], run: ExploredRun = side.run) -> str:
                    draw, name = asked
                    label = None if name == ALL or int(name) >= (run.vae.classes or 0) else int(name)
                    return data_url(Picture("", "", run.samples(SIDE * SIDE, draw, label), SIDE).grid())

                self._frames.append(Frames(image, compute, image.show))
        self._ask()

    def _again(self) -> None:
        self._draw += 1
        self._ask()

    def _of(self, name: str) -> None:
        self._class = name
        self._ask()

    def _ask(self) -> None:
        for frames in self._frames:
            frames.ask((self._draw, self._class))
