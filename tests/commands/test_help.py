"""What --help says of each command with a configuration."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Command, composing
from hydra import compose
from omegaconf import OmegaConf

from vae_lightning.commands.command import CONF

# The names of the commands' modules, which are those of their files in conf and conf/hydra/help.
COMMANDS = sorted(path.stem for path in (CONF / "hydra/help").glob("*.yaml"))


def keys_of(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    for key, child in node.items():
        if key in ("_target_", "hydra"):
            continue
        if isinstance(child, dict) and child:
            yield from keys_of(child, f"{path}{key}.")
        else:
            yield f"{path}{key}", child


def rows(text: str) -> dict[str, tuple[Any, str]]:
    """The value and the explanation of each key and group; the explanation stands beside the key or below it."""
    found: dict[str, tuple[Any, str]] = {}
    for entry in re.split(r"\n+(?! {20})", text):
        if row := re.fullmatch(r"(?: {2})?([a-z][\w.]*)=(\S+(?: \S+)*)(\s{2,}.*)?", entry, re.DOTALL):
            value: Any = OmegaConf.to_container(OmegaConf.create(f"value: {row[2]}"))
            found[row[1]] = (value["value"], " ".join((row[3] or "").split()))
    return found


@pytest.mark.usefixtures("no_torch")
@pytest.mark.parametrize("name", COMMANDS)
def test_every_key_has_its_value_and_its_meaning_within_80_columns(name: str, command: Command) -> None:
    done = command(name, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert max(map(len, done.stdout.splitlines())) <= 80
    found = rows(done.stdout)
    with composing():
        keys = dict(keys_of(OmegaConf.to_container(compose(name))))
    for key, value in keys.items():
        shown, meaning = found[key]
        assert shown == value or str(value).startswith("${now:") or not value
        assert meaning.endswith((".", ")")), key
    assert not any(meaning.startswith("As in ") for _, meaning in found.values())


def help_of(command: Command, *arguments: str) -> dict[str, tuple[Any, str]]:
    done = command("train", "--help", *arguments)
    assert done.returncode == 0, done.stderr
    return rows(done.stdout)


def test_a_group_has_its_choices_and_the_meaning_of_the_chosen_one(command: Command) -> None:
    found = help_of(command, "data=mnist_5k", "objective=beta_warmup")
    choice, meaning = found["data"]
    assert choice == "mnist_5k"
    assert meaning.startswith("5,000 real MNIST digits")
    assert meaning.endswith("One of emnist, fashion_mnist, files, images, kmnist, mnist, mnist_5k.")
    assert found["experiment"][0] is None
    assert found["experiment"][1].startswith(
        "A file of conf/experiment, which overrides all of the above. One of article"
    )
    assert found["data.batch_size"] == (
        64,
        "Images per optimiser step, over all devices together.",
    )  # "As in mnist.yaml"
    assert found["objective.schedule.start"] == (0.0, "Factor of beta at the first step.")


def test_a_custom_file_explains_its_own_keys(command: Command, tmp_path: Path) -> None:
    (tmp_path / "own/model").mkdir(parents=True)
    content = "# A network of my own.\ndefaults:\n  - mlp\n\n# How deep it is.\ndepth: 3\nprice: $5 or ${seed}\n"
    (tmp_path / "own/model/mine.yaml").write_text(content)
    found = help_of(command, "--config-dir", "own", "model=mine", "+model.encoder.width=7")
    assert found["model"][1] == "A network of my own. One of conditional, conv, mine, mlp, residual, two_layers."
    assert found["model.depth"] == (3, "How deep it is.")
    assert found["model.price"][0] == "$5 or ${seed}"
    assert found["model.latent_dim"] == (20, "Number of latent variables.")
    assert found["model.encoder.width"] == (7, "")


def test_resolve_shows_the_values_of_interpolations(command: Command) -> None:
    assert help_of(command, "seed=3")["data.seed"][0] == "${seed}"
    assert help_of(command, "seed=3", "--resolve")["data.seed"][0] == 3


def test_several_files_of_a_group_are_explained_by_the_group(command: Command) -> None:
    found = help_of(command, "logger=[tensorboard,mlflow]")
    assert found["logger.tensorboard.purge_step"][1].startswith("Step from which TensorBoard redraws the curves")
