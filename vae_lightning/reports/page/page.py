"""Write the interactive page of a sweep, a search, or a set of runs: one HTML file that needs nothing else."""

import json
from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template

from vae_lightning.reports.importances import Importances
from vae_lightning.reports.page.content import page_content
from vae_lightning.reports.results import SweepResults
from vae_lightning.reports.trials import Search
from vae_lightning.whole_files import write_file

__all__ = ["write_page"]


# In this order, as one script.
SCRIPTS = ("data.js", "table.js", "charts.js", "page.js")


def write_page(
    path: Path,
    base: Path,
    title: str,
    found: SweepResults,
    search: Search | None,
    note: str = "",
    importances: Sequence[Importances] = (),
) -> None:
    """Write the page.

    The page holds Plotly's script, its own script and style, and the data, so that it opens without a network. Its
    links to the jobs are relative: it may be moved together with ``base``.

    Arguments:
        path: the page's file.
        base: the folder to which the names of the jobs are relative.
        title: the page's title.
        found: the jobs. If they have a column ``group``, configurations are ranked and compared within a group.
        search: the trials, if the jobs are those of a search.
        note: a text below the title.
        importances: those of the search's parameters, as :func:`vae_lightning.reports.importances.find_importances`
            returns them.

    Raises:
        OSError: if the page cannot be written.
    """
    from plotly.offline import get_plotlyjs

    assets = files(__package__)
    template, style, *parts = (assets.joinpath(name).read_text("utf-8") for name in ("page.html", "page.css", *SCRIPTS))
    script = "\n".join(parts)
    content = page_content(base, path.parent, found, search, importances) | {"note": note}
    plotly = get_plotlyjs()
    # Nothing but these two scripts may run, and nothing may be loaded. Plotly's parallel coordinates compile their
    # shaders' code, which is 'unsafe-eval'.
    hashes = " ".join(f"'sha256-{b64encode(sha256(each.encode()).digest()).decode()}'" for each in (plotly, script))
    page = Template(template).substitute(
        title=escape(title),
        hashes=hashes,
        style=style,
        plotly=plotly,
        # The only character by which a text could end its element.
        content=json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c"),
        script=script,
    )
    write_file(path, page)
