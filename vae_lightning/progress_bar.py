"""A progress bar on the terminal."""

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

__all__ = ["progress_bar"]


@contextmanager
def progress_bar(total: float, description: str, shown: bool = True, initial: int = 0) -> Iterator["tqdm[Any]"]:
    """Show a bar with the time left, on terminals only, until the block ends. Log lines appear above it.

    Inside the block of another bar it takes the place of that bar.

    Arguments:
        total: number of steps; infinite if unknown.
        description: text before the bar.
        shown: if false, no bar is shown.
        initial: number of steps taken earlier.
    """
    shown = shown and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    with ExitStack() as within:
        if shown:
            within.enter_context(logging_redirect_tqdm())
        yield within.enter_context(
            tqdm(
                total=total,
                desc=description,
                initial=initial,
                file=sys.stdout,
                leave=False,
                position=0,
                disable=not shown,
                dynamic_ncols=True,
                bar_format="{desc} {percentage:3.0f}%|{bar}| {elapsed}, {remaining} left{postfix}",
            )
        )
