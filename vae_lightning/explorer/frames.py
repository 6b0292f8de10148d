"""Frames that keep up with the pointer: the newest one is computed, those that it has overtaken are not."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from nicegui import background_tasks
from nicegui.element import Element

__all__ = ["Frames"]

Asked = TypeVar("Asked")
Shown = TypeVar("Shown")

# One thread for the models of all tabs, so that the event loop goes on and frames do not share the processor's caches.
_models = ThreadPoolExecutor(1, "models")


class Frames(Generic[Asked, Shown]):
    """Calls a function outside the event loop, one call at a time, and shows what it returns.

    What is asked for during a call waits, and replaces what has waited before.

    Arguments:
        element: an element of the page; once it is deleted, because the tab was closed, nothing is shown.
        compute: the function, called in the models' thread.
        show: called in the event loop with its result.
    """

    def __init__(self, element: Element, compute: Callable[[Asked], Shown], show: Callable[[Shown], None]) -> None:
        self._element, self._compute, self._show = element, compute, show
        self._waiting: list[Asked] = []
        self._busy = False

    def ask(self, asked: Asked) -> None:
        """Ask for a frame."""
        self._waiting = [asked]
        if not self._busy:
            self._busy = True
            background_tasks.create(self._run(), name="frames")

    async def _run(self) -> None:
        try:
            while self._waiting and not self._element.is_deleted:
                asked = self._waiting.pop()
                shown = await asyncio.get_running_loop().run_in_executor(_models, self._compute, asked)
                if not self._element.is_deleted:
                    self._show(shown)
        finally:
            self._busy = False
