"""What MkDocs does not do by itself: files of the whole repository, patterns in the navigation, formulas as pictures.

Files keep their paths in the repository, so that a relative link leads to the same file on the site and on a forge.
"""

import os
import re
from html import unescape
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files
from ziafont.config import config as fonts
from ziamath.zmath import Latex

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "vae_lightning"
# Pages, and the files that they show or link to.
PATTERNS = [
    *("*.md", "LICENSE", "CITATION.cff", "benchmarks/README.md", "outputs/README.md", "conf/**/*.yaml"),
    *("vae_lightning/schedules/schedule.py", "docs/**/*.md", "docs/**/*.py", "docs/**/*.png", "docs/schema.json"),
    *("docs/site/*.css", "docs/site/*.js"),
]

# Pages of the API, which need no files: the package's own functions, and each folder with public names.
TOP = "# vae_lightning\n\n::: vae_lightning\n    options:\n      members: [load_run, linear_probe, InputError]\n"
API = {"docs/api/vae_lightning.md": TOP} | {
    f"docs/api/{stub.parent.name}.md": f"# {stub.parent.name}\n\n::: vae_lightning.{stub.parent.name}\n"
    for stub in sorted(PACKAGE.glob("*/__init__.pyi"))
}
SOURCES = sorted({str(path.relative_to(ROOT)) for pattern in PATTERNS for path in ROOT.glob(pattern)} | API.keys())

# Notebooks show results alone: a warning would show where the build's packages lie.
os.environ.setdefault("PYTHONWARNINGS", "ignore")

FONT_SIZE = 20
fonts.precision = 2
fonts.svg2 = False  # glyphs as paths, not as symbols, whose ids would be repeated within a page


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Replace each pattern in the navigation by the pages that match it and are not listed beside it."""
    config.nav = [{title: _expanded(pages) for title, pages in section.items()} for section in config.nav or []]
    return config


def _expanded(pages: Any) -> Any:
    if isinstance(pages, str):
        return pages
    listed = {path for page in pages for path in (page.values() if isinstance(page, dict) else [page])}
    return [
        found
        for page in pages
        for found in (
            [source for source in SOURCES if Path(source).match(page) and source not in listed]
            if isinstance(page, str) and "*" in page
            else [page]
        )
    ]


@event_priority(100)  # before plugins look for notebooks
def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Return the files of the repository, the pages of the API and the files of the theme."""
    pages = [
        File.generated(config, source, content=API[source])
        if source in API
        else File(source, str(ROOT), config.site_dir, config.use_directory_urls)
        for source in SOURCES
    ]
    return Files([*pages, *(file for file in files if file.src_dir != config.docs_dir)])


def on_page_content(html: str, **_: Any) -> str:
    """Return a page with its formulas as SVG: browsers show them without a script and without a font for formulas."""
    return re.sub(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', _formula, html, flags=re.DOTALL)


def _formula(found: re.Match[str]) -> str:
    inline, text = found[2] == "(", unescape(found[3]).strip()
    formula = Latex(text, size=FONT_SIZE, color="currentColor", inline=inline, title=text)
    svg = formula.svgxml()
    width, height, depth = (
        f"{float(size) / FONT_SIZE:.3f}em" for size in (svg.get("width", 0), svg.get("height", 0), formula.getyofst())
    )
    svg.set("style", f"width: {width}; height: {height}" + f"; vertical-align: {depth}" * inline)
    svg.set("class", "formula")
    svg.set("role", "img")
    text = ElementTree.tostring(svg, encoding="unicode")
    return text if inline else f'<div class="formula">{text}</div>'
