"""The map: images as points, of which one can be seen, chosen and dragged."""

import torch
from nicegui import run, ui
from nicegui.events import MouseEventArguments, ValueChangeEventArguments
from torch import Tensor

from vae_lightning.explorer.colours import colours
from vae_lightning.explorer.data_url import data_url
from vae_lightning.explorer.image_element import ImageElement
from vae_lightning.explorer.latent_map import LatentMap, projections
from vae_lightning.explorer.session import Session, Side

__all__ = ["MapPanel"]

# Units along the map's sides, their margin, the radius of a point, and that within which the pointer finds one.
SIZE, MARGIN, POINT, REACH = 600, 20, 3, 12
# Samples from the prior behind the points.
BACKGROUND = 600


class MapPanel:
    """The map of one run.

    Arguments:
        session: the tab.
        side: the run.
    """

    def __init__(self, session: Session, side: Side) -> None:
        self._session, self._side = session, side
        self._dragging = False
        kinds = projections(side.run.mean.shape[1])
        first = next(iter(kinds))
        with ui.row().classes("tools"):
            ui.toggle(kinds, value=first, on_change=self._choose).props("no-caps unelevated").mark("projection")
            self._busy = ui.row().classes("busy")
            with self._busy:
                ui.spinner(size="1em")
                ui.label("laying out the map ...")
            self._busy.visible = False
        with ui.element("div").classes("map-frame"):
            self._picture = ui.interactive_image(
                size=(SIZE, SIZE),
                on_mouse=self._on_pointer,
                events=["pointerdown", "pointermove", "pointerup", "pointerleave"],
                sanitize=False,  # it holds numbers alone, and sanitising thousands of points takes seconds
            )
            self._picture.classes("map").props('role="img" aria-label="map of the latents"')
            self._marker = self._picture.add_layer()
            with ui.element("div").classes("hovered") as self._hovered:
                self._thumb = ImageElement("image under the pointer")
                self._caption = ui.label()
            self._hovered.visible = False
        self._axes = ui.label().classes("hint")
        self._legend()
        side.watchers.append(lambda by: self._mark())
        self._show(side.run.map(first))

    def _legend(self) -> None:
        labels = self._side.run.labels
        if labels is None:
            return
        known = labels.unique().tolist()
        with ui.row().classes("legend"):
            for label, colour in zip(known, colours(len(known)), strict=True):
                with ui.row().classes("chip"):
                    ui.element("span").style(f"background:{colour}")
                    ui.label(str(label))

    async def _choose(self, event: ValueChangeEventArguments[str]) -> None:
        self._busy.visible = True
        try:
            found = await run.io_bound(self._side.run.map, event.value)
        finally:
            self._busy.visible = False
        if found is not None:  # as it is while the server ends
            self._show(found)

    def _show(self, latent_map: LatentMap) -> None:
        """Draw the points of a map, over samples from the prior."""
        self._map = latent_map
        low, high = latent_map.points.amin(0), latent_map.points.amax(0)
        self._middle = (low + high) / 2
        self._scale = (SIZE - 2 * MARGIN) / max(float((high - low).max()), 1e-9)
        points, labels = self._pixels(latent_map.points), self._side.run.labels
        known = torch.zeros(1, dtype=torch.long) if labels is None else labels.unique()
        each = torch.zeros(len(points), dtype=torch.long) if labels is None else torch.searchsorted(known, labels)
        colour = colours(len(known))
        # A group for each label, and a path of round dots in it, which browsers draw faster than circles.
        groups = [_dots(self._pixels(latent_map.place(self._side.run.prior_latents(BACKGROUND))), "prior", POINT - 1)]
        groups += [_dots(points[each == k], "point", POINT, colour[k]) for k in range(len(known))]
        self._picture.content = "".join(groups)
        self._axes.text = f"→ {latent_map.names[0]}; ↑ {latent_map.names[1]}; grey: samples from the prior"
        self._mark()

    def _mark(self) -> None:
        """Mark the latent that is decoded."""
        x, y = self._pixels(self._map.place(self._side.z)).clamp(6, SIZE - 6).tolist()
        ring = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="9" class="marker'
        self._marker.content = f'{ring} outer"/>{ring}"/>'

    def _on_pointer(self, event: MouseEventArguments) -> None:
        place = self._place(event.image_x, event.image_y)
        if event.type in ("pointerup", "pointerleave"):
            self._dragging = self._dragging and event.type == "pointerleave"
            self._hovered.visible = False
        elif event.type == "pointerdown" and event.button == 0:
            self._dragging = True
            index = self._map.nearest(place, REACH / self._scale)
            if index is None:
                self._move(place)
            else:
                self._session.select(self._side, index)
        elif self._dragging and event.buttons & 1:
            self._move(place)
        else:
            self._dragging = False
            self._hover(self._map.nearest(place, REACH / self._scale), event)

    def _move(self, place: Tensor) -> None:
        self._hovered.visible = False
        self._side.move(self._side.run.onto_support(self._map.latent(place, self._side.z)))

    def _hover(self, index: int | None, event: MouseEventArguments) -> None:
        self._hovered.visible = index is not None
        if index is None:
            return
        label = self._side.run.label(index)
        self._caption.text = f"image {index}" if label is None else f"{label} · image {index}"
        self._thumb.show(data_url(self._side.run.images[index]))
        # In the corner that is farthest from the pointer.
        across, down = (
            ("right" if event.image_x < SIZE / 2 else "left"),
            ("bottom" if event.image_y < SIZE / 2 else "top"),
        )
        self._hovered.style(replace=f"{across}: 8px; {down}: 8px")

    def _pixels(self, places: Tensor) -> Tensor:
        return (places - self._middle) * self._scale * torch.tensor([1.0, -1.0]) + SIZE / 2

    def _place(self, x: float, y: float) -> Tensor:
        return (torch.tensor([x, y]) - SIZE / 2) * torch.tensor([1.0, -1.0]) / self._scale + self._middle


def _dots(points: Tensor, name: str, radius: float, colour: str | None = None) -> str:
    """Return a path of dots ``(N, 2)``, each a line of no length with round ends."""
    inside = points[((points >= 0) & (points <= SIZE)).all(-1)]
    path = "".join(f"M{x:.1f} {y:.1f}h0" for x, y in inside.tolist())
    stroke = "" if colour is None else f' stroke="{colour}"'
    return f'<path class="{name}" d="{path}" stroke-width="{2 * radius}" stroke-linecap="round"{stroke}/>'
