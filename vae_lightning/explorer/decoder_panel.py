"""The decoder: the image of the latent that is looked at, and a slider for each latent variable."""

import random
from collections.abc import Callable

from nicegui import ui
from nicegui.events import GenericEventArguments
from torch import Tensor

from vae_lightning.explorer.data_url import data_url
from vae_lightning.explorer.explored_run import STEPS
from vae_lightning.explorer.frames import Frames
from vae_lightning.explorer.image_element import ImageElement
from vae_lightning.explorer.session import Session, Side

__all__ = ["DecoderPanel"]

# Sliders that are shown at first.
SLIDERS = 10
# Seconds after which sliders follow a latent that something else has moved: with each frame they would slow it down.
FOLLOWING = 0.1


class DecoderPanel:
    """The decoder of one run.

    Arguments:
        session: the tab.
        side: the run.
    """

    def __init__(self, session: Session, side: Side) -> None:
        self._session, self._side = session, side
        run = side.run
        with ui.row().classes("pictures"):
            with ui.element("figure"):
                self._original = ImageElement("selected image")
                self._caption = ui.label().classes("hint")
            with ui.element("figure"):
                self._decoded = ImageElement("decoded image").mark("decoded")
                ui.label("decoded").classes("hint")
            with ui.column().classes("tools vertical"):
                with ui.row().classes("tools"):
                    _button("chevron_left", "previous image", lambda: self._step(-1))
                    _button("chevron_right", "next image", lambda: self._step(1))
                    _button("shuffle", "random image", lambda: self._step(random.randrange(1, len(run.images))))
                    _button("undo", "back to the image's mean", lambda: self._step(0))
                if run.vae.classes is not None:
                    self._class = ui.select([*range(run.vae.classes)], label="class", value=side.label)
                    self._class.props("dense outlined").classes("class")
                    self._class.on_value_change(lambda event: side.see_class(event.value))
        self._frames = Frames(self._decoded, self._decode, self._decoded.show)
        what = "KL, in nats" if run.kl is not None else "variance of the mean"
        scale = "takes each value" if run.vae.posterior.values else "has the prior's scale"
        ui.label(f"Latent variables by {what}; a slider {scale}").classes("hint")
        self._sliders: list[_Slider] = []
        self._list = ui.column().classes("sliders")
        if not run.vae.posterior.values:
            with self._list, ui.element("div").classes("slider scale"):
                ui.label()
                ui.label("KL" if run.kl is not None else "")
                with ui.element("div"):
                    for level in ("0.1%", "50%", "99.9%"):
                        ui.label(level)
                ui.label("value").classes("value")
        self._add(SLIDERS)
        rest = len(run.order) - SLIDERS
        if rest > 0:
            self._more = ui.button(f"show {rest} more", on_click=self._add_all).props("flat dense no-caps")
        self._moved_by: object = None
        self._behind = False
        side.watchers.append(self._follow)
        self._follow(None)
        ui.timer(FOLLOWING, self._move_sliders)

    def _add_all(self) -> None:
        self._add(len(self._side.run.order))
        self._more.delete()

    def _add(self, count: int) -> None:
        with self._list:
            for dimension in self._side.run.order[len(self._sliders) : count]:
                self._sliders.append(_Slider(self._side, dimension))

    def _step(self, by: int) -> None:
        self._session.select(self._side, (self._side.index + by) % len(self._side.run.images))

    def _follow(self, by: object) -> None:
        side = self._side
        if side.run.vae.classes is not None and self._class.value != side.label:
            self._class.value = side.label
        self._frames.ask((side.z, side.label))
        label = side.run.label(side.index)
        self._caption.text = f"image {side.index}" + ("" if label is None else f", label {label}")
        self._original.show(data_url(side.run.images[side.index]))
        self._moved_by, self._behind = by, True

    def _move_sliders(self) -> None:
        if self._behind:
            self._behind = False
            for slider in self._sliders:
                if slider is not self._moved_by:
                    slider.follow()

    def _decode(self, asked: tuple[Tensor, int]) -> str:
        z, label = asked
        return data_url(self._side.run.decode(z[None], label)[0])


class _Slider:
    """The slider of one latent variable: its positions are latents, at quantiles of the prior or discrete values."""

    def __init__(self, side: Side, dimension: int) -> None:
        self._side, self._dimension = side, dimension
        run = side.run
        self._values, each = run.vae.posterior.values, len(side.z) // run.vae.posterior.latent_dim
        self._numbers = slice(dimension * each, (dimension + 1) * each)
        low, high, step = (0, self._values - 1, 1) if self._values else (float(STEPS[0]), float(STEPS[-1]), 0.05)
        with ui.element("div").classes("slider"):
            ui.label(f"z{dimension}").classes("name")
            ui.label("" if run.kl is None else f"{run.kl[dimension]:.2f}").classes("kl")
            self._slider = ui.slider(min=low, max=high, step=step).props(
                f'dense aria-label="latent variable {dimension}"'
            )
            self._slider.props["markers"] = 1
            self._slider.on("update:model-value", self._slide, throttle=0.02).mark(f"z{dimension}")
            self._value = ui.label().classes("value")
        self.follow()

    def _slide(self, event: GenericEventArguments) -> None:
        rows = self._side.run.traversal(self._side.z, self._dimension)
        place = event.args if self._values else (event.args - float(STEPS[0])) / 0.05
        self._side.move(rows[min(max(round(place), 0), len(rows) - 1)], by=self)
        self._write()

    def follow(self) -> None:
        """Move to the position that is nearest to the latent."""
        rows = self._side.run.traversal(self._side.z, self._dimension)
        nearest = int((rows - self._side.z)[:, self._numbers].abs().sum(-1).argmin())
        self._slider.value = nearest if self._values else float(STEPS[nearest])
        self._write()

    def _write(self) -> None:
        own = self._side.z[self._numbers]
        self._value.text = f"category {int(own.argmax())}" if len(own) > 1 else f"{float(own[0]):.2f}"


def _button(icon: str, what: str, action: Callable[[], None]) -> None:
    ui.button(icon=icon, on_click=action).props(f'flat dense round aria-label="{what}"').tooltip(what)
