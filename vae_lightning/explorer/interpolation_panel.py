"""The way between two images."""

import torch
from nicegui import ui

from vae_lightning.evaluation.pictures import Picture
from vae_lightning.explorer.data_url import data_url
from vae_lightning.explorer.frames import Frames
from vae_lightning.explorer.image_element import ImageElement
from vae_lightning.explorer.session import Session

__all__ = ["InterpolationPanel"]

# Images of the strip.
STRIP = 9


class InterpolationPanel:
    """Two images, chosen by a click each, a slider and a strip of images between them, for each run.

    Arguments:
        session: the tab.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        count = len(session.sides[0].run.images)
        self._ends = [
            [0, count // 2] if session.linked or k == 0 else [0, len(side.run.images) // 2]
            for k, side in enumerate(session.sides)
        ]
        with ui.element("div").classes("sides"):
            self._ways = [self._way(k) for k in range(len(session.sides))]
        with ui.element("div").classes("slider wide"):
            self._slider = ui.slider(min=0, max=1, step=0.01, value=0.5).props(
                'dense aria-label="place between the ends"'
            )
            self._slider.on("update:model-value", lambda event: self._ask(event.args), throttle=0.02).mark("between")
        self._ask(0.5)

    def _way(self, k: int) -> "tuple[list[ImageElement], ImageElement, ImageElement, Frames[float, tuple[str, str]]]":
        side = self._session.sides[k]
        with ui.column().classes("side"):
            with ui.row().classes("pictures small"):
                ends = []
                for end, name in enumerate("AB"):
                    with ui.element("figure"):
                        with (
                            ui.button(on_click=lambda end=end: self._set(k, end))
                            .props("flat padding=none")
                            .classes("end") as button
                        ):
                            ends.append(ImageElement(f"end {name}"))
                        button.props(f'aria-label="set end {name} to the selected image"').mark(f"end {name}")
                        ui.label(f"end {name}").classes("hint")
                with ui.element("figure"):
                    middle = ImageElement("image at the slider's place").mark("middle")
                    ui.label("at the slider").classes("hint")
            strip = ImageElement("nine images from A to B").classes("strip")

        def compute(place: float) -> tuple[str, str]:
            run = side.run
            start, end = (run.mean[index] for index in self._ends[k])
            z = run.interpolation(start, end, torch.cat([torch.tensor([place]), torch.linspace(0, 1, STRIP)]))
            images = run.decode(z, side.label)
            return data_url(images[0]), data_url(Picture("", "", images[1:], STRIP).grid())

        def show(urls: tuple[str, str]) -> None:
            middle.show(urls[0])
            strip.show(urls[1])

        return ends, middle, strip, Frames(strip, compute, show)

    def _set(self, k: int, end: int) -> None:
        """Make the selected image an end."""
        for other in range(len(self._ways)) if self._session.linked else [k]:
            self._ends[other][end] = self._session.sides[other].index
        self._ask(self._slider.value)

    def _ask(self, place: float) -> None:
        for k, (ends, _, _, frames) in enumerate(self._ways):
            for image, index in zip(ends, self._ends[k], strict=True):
                image.show(data_url(self._session.sides[k].run.images[index]))
            frames.ask(place)
