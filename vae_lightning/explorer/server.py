"""The server of the page: on 127.0.0.1 alone, with everything that the page loads.

NiceGUI, because it brings pointer events with coordinates over a socket to Python, keeps the state of each tab there,
ships every script, style and font that its pages load, and sends nothing elsewhere.
"""

import socket
import threading
import webbrowser
from collections.abc import Sequence
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from nicegui import ui
from starlette.middleware.trustedhost import TrustedHostMiddleware

from vae_lightning.explorer.address import HOST
from vae_lightning.explorer.explored_run import ExploredRun
from vae_lightning.explorer.page import build_page

__all__ = ["serve"]

# Seconds that open connections have to end after Ctrl-C.
GRACE = 1


def serve(runs: Sequence[ExploredRun], folders: Sequence[Path], listening: socket.socket, browser: bool) -> None:
    """Serve the page until the process is interrupted.

    Arguments:
        runs: one run, or two to show side by side.
        folders: their directories.
        listening: the socket that :func:`vae_lightning.explorer.address.bound` returns.
        browser: whether to open the page in the browser.
    """
    facts = [run.facts(folder) for run, folder in zip(runs, folders, strict=True)]
    app = FastAPI(openapi_url=None)
    # Another site whose name is made to point to this machine gets no answer.
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])
    ui.page("/", dark=None)(lambda: build_page(runs, facts))
    ui.run_with(app, show_welcome_message=False, tailwind=False)
    url = f"http://{HOST}:{listening.getsockname()[1]}"
    print(f"{url}   (Ctrl-C ends it)", flush=True)
    if browser:
        threading.Thread(target=webbrowser.open, args=[url], daemon=True).start()
    config = uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=GRACE)
    uvicorn.Server(config).run([listening])
