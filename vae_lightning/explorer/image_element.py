"""An image on the page."""

from nicegui import ui

__all__ = ["ImageElement"]


class ImageElement(ui.element):
    """An ``img`` whose content changes without a transition, and so with every frame.

    Arguments:
        what: its description, for screen readers.
    """

    def __init__(self, what: str) -> None:
        super().__init__("img")
        self.props["alt"] = what

    def show(self, url: str) -> None:
        """Show the image of an address."""
        self.props["src"] = url
        self.update()
