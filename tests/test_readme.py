"""What the README shows."""

import re
import shlex
from pathlib import Path

import pytest
import torch
from conftest import SMALL, Command, Compose

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
            continue  # it is run below
        overrides = command.removeprefix("-m ").split()
        composed(*(re.sub(r",[^\]]*$", "", override) if "-m" in command else override for override in overrides))


def test_ones_own_network_is_a_choice_like_any_other(command: Command, tmp_path: Path) -> None:
    for path, content in re.findall(r"```(?:python|yaml)\n# (my_\S+)\n(.*?)```", README, re.DOTALL):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(content)
    commands = re.findall(r"^vae-train ([^#\n]*(?:my_conf|my_module)[^#\n]*)", README, re.MULTILINE)
    assert len(commands) == 2
    for number, given in enumerate(commands):
        done = command("train", *shlex.split(given), *SMALL, "debug=fast", f"hydra.run.dir=run{number}")
        assert done.returncode == 0, done.stderr
        content = torch.load(tmp_path / f"run{number}/checkpoints/last.ckpt", weights_only=True)
        assert content["hyper_parameters"]["encoder"]["_target_"] == "my_module.Encoder"


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "benchmarks/README.md"])
def test_every_link_and_picture_is_there(name: str) -> None:
    document = SOURCE / name
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text()):
        if "://" not in target:
            assert (document.parent / target).exists(), target
