"""The documentation site, and the files with which a forge and others work: workflows, hooks, citation, pictures."""

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

SOURCE = Path(__file__).parents[1]
WORKFLOWS = sorted((SOURCE / ".github/workflows").glob("*.yml"))
PACKAGE = SOURCE / "vae_lightning"
PAGES = ["index.html", "docs/maths.html", "docs/families/gaussian.html", "docs/estimators/score_function.html"]


def recipe(target: str) -> list[str]:
    """The commands of a target of the Makefile, with the path of the programs of .venv."""
    text = (SOURCE / "Makefile").read_text().replace("$(BIN)", ".venv/bin")
    found = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", text, re.MULTILINE)
    assert found is not None, target
    return [line.strip() for line in found[1].splitlines()]


def runs(workflow: Path) -> list[str]:
    jobs = yaml.safe_load(workflow.read_text())["jobs"]
    return [step["run"] for job in jobs.values() for step in job["steps"] if "run" in step]


def test_hooks_run_the_commands_of_make_check() -> None:
    config = yaml.safe_load((SOURCE / ".pre-commit-config.yaml").read_text())
    (repository,) = config["repos"]
    assert repository["repo"] == "local"
    assert [hook["entry"] for hook in repository["hooks"]] == recipe("check")
    assert all(hook["language"] == "system" for hook in repository["hooks"])


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_runs_targets_that_there_are_and_may_write_nothing_by_default(workflow: Path) -> None:
    content = yaml.safe_load(workflow.read_text())
    assert content["permissions"] == {"contents": "read"}
    commands = [command for run in runs(workflow) for command in run.split(" && ")]
    targets = [command.split()[1] for command in commands if command.startswith("make ")]
    assert targets
    for target in targets:
        assert recipe(target)
    used = [step["uses"] for job in content["jobs"].values() for step in job["steps"] if "uses" in step]
    assert [action for action in used if not re.search(r"@(release/)?v\d+$", action)] == []


def test_every_python_that_pyproject_allows_is_tested() -> None:
    tests = yaml.safe_load((SOURCE / ".github/workflows/tests.yml").read_text())
    assert tests["jobs"]["test"]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13", "3.14"]
    assert 'requires-python = ">=3.11"' in (SOURCE / "pyproject.toml").read_text()


def test_the_citation_has_the_version_of_the_package() -> None:
    citation = yaml.safe_load((SOURCE / "CITATION.cff").read_text())
    assert citation.keys() >= {"cff-version", "message", "title", "authors"}
    assert f'version = "{citation["version"]}"' in (SOURCE / "pyproject.toml").read_text()


@pytest.mark.parametrize(("group", "pages"), [("estimator", "estimators"), ("posterior", "families")])
def test_every_choice_has_a_page_with_a_picture(group: str, pages: str) -> None:
    choices = {path.stem for path in (SOURCE / "conf" / group).glob("*.yaml")}
    assert {path.stem for path in (SOURCE / "docs" / pages).glob("*.md")} - {"README"} == choices
    for name in choices:
        assert f"]({name}.png)" in (SOURCE / "docs" / pages / f"{name}.md").read_text()
        assert (SOURCE / "docs" / pages / f"{name}.png").is_file()


def test_the_gallery_has_every_picture() -> None:
    gallery = (SOURCE / "docs/gallery.md").read_text()
    pictures = [*SOURCE.glob("docs/images/*.png"), *SOURCE.glob("docs/families/*.png")]
    assert [path.name for path in pictures if f"({path.relative_to(SOURCE / 'docs')})" not in gallery] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "shorter"), [("first_model", ("epochs=20", "epochs=1")), ("four_posteriors", ("range(1500)", "range(9)"))]
)
def test_notebooks_run(name: str, shorter: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (SOURCE / f"docs/notebooks/{name}.py").read_text()
    assert shorter[0] in text
    (tmp_path / "notebook.py").write_text(text.replace(*shorter))
    monkeypatch.setenv("MPLBACKEND", "agg")
    done = subprocess.run([sys.executable, "notebook.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# The site.


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site without the notebooks' results; a warning fails the build."""
    for name in ("mkdocs", "material", "mkdocstrings_handlers.python", "mkdocs_jupyter", "ziamath"):
        pytest.importorskip(name, reason="needs an extra: pip install 'vae-lightning[docs]'")
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(folder)]
    done = subprocess.run(build, cwd=SOURCE, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
def test_the_api_has_every_public_class_and_function(site: Path) -> None:
    for stub in PACKAGE.glob("*/__init__.pyi"):
        folder = import_module(f"vae_lightning.{stub.parent.name}")
        page = (site / f"docs/api/{stub.parent.name}.html").read_text()
        public = [name for name in folder.__all__ if getattr(getattr(folder, name), "__name__", "") == name]
        assert public
        assert [name for name in public if f'id="{folder.__name__}.{name}"' not in page] == []
    assert 'id="vae_lightning.load_run"' in (site / "docs/api/vae_lightning.html").read_text()


@pytest.mark.slow
def test_formulas_are_drawn(site: Path) -> None:
    page = (site / "docs/maths.html").read_text()
    assert "arithmatex" not in page
    written = re.sub(r"```.*?```|`[^`]*`", "", (SOURCE / "docs/maths.md").read_text(), flags=re.DOTALL)
    assert page.count('class="formula" role="img"') == len(re.findall(r"\$\$.*?\$\$|\$.*?\$", written, re.DOTALL))


@pytest.mark.slow
@pytest.mark.parametrize("width", [1400, 390])
def test_pages_work_from_files_and_ask_for_nothing_else(site: Path, browser: Any, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900})
    troubles: list[str] = []
    page.on("console", lambda message: troubles.append(message.text))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("request", lambda request: troubles.append(request.url) if not request.url.startswith(LOCAL) else None)
    for name in PAGES:
        page.goto((site / name).as_uri())
        assert page.locator("h1").count() == 1
        assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
        assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth)")
    if width < 1000:
        page.locator("label[for=__search]").first.click()
    page.get_by_placeholder("Search").press_sequentially("reparameterize")
    page.wait_for_selector(".md-search-result__item a")
    assert any("VAE.reparameterize" in link for link in links(page))
    assert troubles == []
    page.close()


LOCAL = ("file:", "data:", "blob:", "about:")


def links(page: Any) -> list[str]:
    found: list[str] = page.eval_on_selector_all(".md-search-result__item a", "all => all.map(link => link.href)")
    return found
