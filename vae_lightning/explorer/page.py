"""The page: its head, and a card for each thing to play with."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from nicegui import ui

from vae_lightning.explorer.decoder_panel import DecoderPanel
from vae_lightning.explorer.drawing_panel import DrawingPanel
from vae_lightning.explorer.explored_run import ExploredRun
from vae_lightning.explorer.interpolation_panel import InterpolationPanel
from vae_lightning.explorer.map_panel import MapPanel
from vae_lightning.explorer.samples_panel import SamplesPanel
from vae_lightning.explorer.session import Session, Side

__all__ = ["build_page"]

STYLE = Path(__file__).with_name("style.css")


def build_page(runs: Sequence[ExploredRun], facts: Sequence[Mapping[str, str]]) -> None:
    """Build the page of one browser tab, whose state is its own.

    Arguments:
        runs: one run, or two to show side by side.
        facts: what the head says of each run.
    """
    session = Session(runs)
    ui.add_css(STYLE)
    ui.colors(primary="#2f74c0")
    ui.page_title(" and ".join(run.name for run in runs))
    with ui.element("div").classes("page" if len(runs) == 1 else "page two"):
        with ui.element("header"):
            for run, of_run in zip(runs, facts, strict=True):
                with ui.element("div"):
                    with ui.element("h1"):
                        ui.label(run.name)
                    ui.label(" · ".join(f"{name} {value}" for name, value in of_run.items())).classes("hint")
        with ui.element("div").classes("stack"):
            with _card("Map", "Point at an image to see it, click to select it, drag to decode what lies around it."):
                for side in _sides(session):
                    MapPanel(session, side)
            with _card("Interpolate", "Select an image on the map, then click the end that it is to become."):
                InterpolationPanel(session)
            with _card("Samples", "Images decoded from the prior."):
                SamplesPanel(session)
        with ui.element("div").classes("stack"):
            with _card("Decoder", "Move one latent variable at a time."):
                for side in _sides(session):
                    DecoderPanel(session, side)
            with _card("Draw", "Posterior, reconstruction and probe of a drawing."):
                DrawingPanel(session)


@contextmanager
def _card(title: str, what: str) -> Iterator[None]:
    with ui.element("section"):
        with ui.element("h2"):
            ui.label(title)
        ui.label(what).classes("hint")
        yield


def _sides(session: Session) -> Iterator[Side]:
    """Yield each run within its own part of a card."""
    with ui.element("div").classes("sides"):
        for side in session.sides:
            with ui.column().classes("side"):
                if len(session.sides) > 1:
                    ui.label(side.run.name).classes("run-name")
                yield side
