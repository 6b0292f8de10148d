"""What vae-explore refuses, and its help; tests/explorer looks at the page."""

import os
from pathlib import Path

import pytest
from conftest import Command

REFUSED = [
    ([], "run: must be a run directory"),
    (["nowhere"], "run=nowhere: must be a run directory, but nowhere/.hydra/config.yaml does not exist"),
    (["run=nowhere", "images=1"], "images=1: must be a whole number of at least 2"),
    (["run=nowhere", "port=70000"], "port=70000: must be a whole number from 0 to 65535"),
    (["run=nowhere", "browser=maybe"], "browser=maybe: must be one of True, False"),
    (["run=nowhere", "split=all"], "split=all: must be one of test, val, train"),
    (["run=nowhere", "image=5"], "image: there is no such name; did you mean images?"),
]


@pytest.mark.usefixtures("no_torch")
@pytest.mark.parametrize(
    ("arguments", "said"), REFUSED, ids=lambda value: " ".join(value) if isinstance(value, list) else ""
)
def test_bad_input_is_refused_in_one_line(arguments: list[str], said: str, command: Command, tmp_path: Path) -> None:
    done = command("explore", *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {said}")
    assert done.stderr.count("\n") == 1
    assert [*tmp_path.iterdir()] == []


@pytest.mark.usefixtures("no_torch")
def test_a_missing_extra_is_named_before_torch_is_imported(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text(
        "import importlib.util\n"
        "find_spec = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *more: None if name == 'nicegui' else find_spec(name, *more)\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(hidden), os.environ["PYTHONPATH"]]))
    done = command("explore", "nowhere")
    assert (done.returncode, done.stderr) == (
        2,
        "error: vae-explore: needs an extra: pip install 'vae-lightning[explore]'\n",
    )


@pytest.mark.usefixtures("no_torch")
def test_help_lists_the_keys(command: Command) -> None:
    done = command("explore", "--help")
    assert done.returncode == 0
    for key in ("run=???", "other=null", "images=2000", "port=0", "browser=true"):
        assert key in done.stdout
