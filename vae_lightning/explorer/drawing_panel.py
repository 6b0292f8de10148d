"""A canvas to draw on, and what the models make of the drawing."""

from typing import NamedTuple

from nicegui import run, ui
from nicegui.events import MouseEventArguments
from torch import Tensor

from vae_lightning.explorer.bars import posterior_bars, probability_bars
from vae_lightning.explorer.classifier import Classifier
from vae_lightning.explorer.colours import colours
from vae_lightning.explorer.data_url import data_url
from vae_lightning.explorer.drawing import Drawing
from vae_lightning.explorer.frames import Frames
from vae_lightning.explorer.image_element import ImageElement
from vae_lightning.explorer.session import Session, Side

__all__ = ["DrawingPanel"]


class DrawingPanel:
    """The canvas, of the first run's size, and the results of each run below it.

    Arguments:
        session: the tab.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._drawing = Drawing(*session.sides[0].run.vae.image_shape[1:])
        self._last: tuple[float, float] | None = None
        with ui.row().classes("pictures"):
            with ui.element("figure"):
                self._canvas = ui.interactive_image(
                    data_url(self._drawing.ink[None]),
                    on_mouse=self._on_pointer,
                    events=["pointerdown", "pointermove", "pointerup"],
                    cross=False,
                )
                self._canvas.classes("canvas").props('role="img" aria-label="canvas to draw on"')
            with ui.column().classes("tools vertical"):
                ui.button("Clear", on_click=self._clear).props("unelevated no-caps")
                copy = ui.button("Copy the selected image", on_click=self._copy)
                copy.props("outline no-caps")
                self._centre = ui.switch("Centre by mass", value=True, on_change=self._ask).props("dense")
                self._hint = ui.label().classes("hint")
        with ui.element("div").classes("sides"):
            self._results = [_Results(side, len(session.sides) > 1) for side in session.sides]
        self._redraw()

    def _on_pointer(self, event: MouseEventArguments) -> None:
        here = (event.image_x, event.image_y)
        if event.type == "pointerup" or not event.buttons & 1:
            self._last = None
            return
        self._drawing.stroke(self._last or here, here)
        self._last = here
        self._redraw()

    def _clear(self) -> None:
        self._drawing.clear()
        self._redraw()

    def _copy(self) -> None:
        side = self._session.sides[0]
        self._drawing.ink = side.run.images[side.index].mean(0).clone()
        self._redraw()

    def _redraw(self) -> None:
        self._canvas.source = data_url(self._drawing.ink[None])
        self._ask()

    def _ask(self) -> None:
        right, below = self._drawing.offset()
        if self._drawing.is_empty:
            self._hint.text = "Draw with the mouse, a pen or a finger. MNIST's digits are centred by their mass."
        else:
            sideways = f"{abs(right):.1f} px {'right' if right > 0 else 'left'}"
            self._hint.text = (
                f"Centre of mass: {sideways}, {abs(below):.1f} px {'below' if below > 0 else 'above'} the middle"
            )
        for results in self._results:
            results.ask(self._drawing, self._centre.value)


def _figure(what: str) -> ImageElement:
    with ui.element("figure"):
        image = ImageElement(what)
        ui.label(what).classes("hint")
    return image


class _Found(NamedTuple):
    seen: str
    reconstruction: str
    posterior: str
    probe: str


class _Results:
    """What one run makes of the drawing."""

    def __init__(self, side: Side, named: bool) -> None:
        self._side = side
        self._classifier: Classifier | None = None
        self._asked: Tensor | None = None
        with ui.column().classes("side"):
            if named:
                ui.label(side.run.name).classes("run-name")
            with ui.column().classes("side") as self._shown:
                with ui.row().classes("pictures small"):
                    self._seen, self._reconstruction = map(_figure, ("as the encoder sees it", "reconstruction"))
                ui.label("Posterior: mean ± standard deviation, by KL; grey: the prior").classes("hint")
                self._posterior = ui.html(sanitize=False).classes("bars")
            self._note = ui.label("fitting the probe ...").classes("hint")
            self._probe = ui.html(sanitize=False).classes("bars")
        self._shown.visible = False
        self._frames = Frames(self._posterior, self._compute, self._show)
        side.watchers.append(lambda by: self._again())
        self._label = side.label
        ui.timer(0, self._fit, once=True)

    async def _fit(self) -> None:
        found = await run.io_bound(lambda: self._side.run.classifier)
        if not isinstance(found, Classifier):
            self._note.text = found or ""  # None while the server ends
            return
        self._classifier = found
        own = self._side.run
        assert own.labels is not None
        self._note.text = (
            f"Linear probe, fitted to {found.images} training images; "
            f"right for {found.accuracy(own.mean, own.labels):.1%} of the map's images"
        )
        self._again(fitted=True)

    def ask(self, drawing: Drawing, centred: bool) -> None:
        """Ask for the results of a drawing."""
        self._shown.visible = self._probe.visible = not drawing.is_empty
        self._asked = None if drawing.is_empty else drawing.as_image(self._side.run.vae.image_shape, centred)
        self._again(fitted=True)

    def _again(self, fitted: bool = False) -> None:
        """Compute the results again if the class has changed, which the encoder may see."""
        if self._asked is not None and (fitted or self._label != self._side.label):
            self._label = self._side.label
            self._frames.ask(self._asked)

    def _compute(self, image: Tensor) -> _Found:
        run = self._side.run
        seen = run.see(image, self._label)
        numbers = run.numbers_in_order()
        probe = ""
        if self._classifier is not None:
            probabilities = self._classifier.probabilities(seen.mean)
            classes = self._classifier.classes.tolist()
            probe = probability_bars(classes, probabilities.tolist(), colours(len(classes)))
        posterior = posterior_bars(*(part[..., numbers] for part in (seen.mean, seen.std, run.range)))
        return _Found(data_url(image), data_url(seen.reconstruction), posterior, probe)

    def _show(self, found: _Found) -> None:
        self._seen.show(found.seen)
        self._reconstruction.show(found.reconstruction)
        self._posterior.content, self._probe.content = found.posterior, found.probe
