"""What the README shows."""

import re
from pathlib import Path

import pytest
from conftest import Compose

SOURCE = Path(__file__).parents[1]
README = (SOURCE / "README.md").read_text()


def test_the_python_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert examples
    names: dict[str, object] = {}
    for example in examples:
        exec(example.replace("max_epochs=20", "max_epochs=1"), names)


def test_the_commands_compose(composed: Compose) -> None:
    commands = re.findall(r"^vae-train ([^#\n]*)", README, re.MULTILINE)
    assert len(commands) >= 4
    for command in commands:
        if "--config-dir" in command:
            continue  # test_train.py has one of its own
        overrides = command.removeprefix("-m ").split()
        composed(*(re.sub(r",[^\]]*$", "", override) if "-m" in command else override for override in overrides))


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "benchmarks/README.md"])
def test_every_link_and_picture_is_there(name: str) -> None:
    document = SOURCE / name
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text()):
        if "://" not in target:
            assert (document.parent / target).exists(), target
