import inspect
import math
import pkgutil
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import Compose
from omegaconf import OmegaConf

import vae_lightning
from vae_lightning import EMNISTDataModule
from vae_lightning.commands.command import CONF
from vae_lightning.commands.rules import ENCODE, EVALUATE, EXPORT
from vae_lightning.config.errors import InputError
from vae_lightning.config.rules import (
    Rule,
    check,
    check_choice,
    check_digits,
    integer,
    name,
    number,
    one_of,
    optional,
    seed,
    several,
    text,
)
from vae_lightning.config.targets import rules_of
from vae_lightning.data.images import LabelledImages
from vae_lightning.data.published import PublishedDataModule
from vae_lightning.data.rules import EMNIST_IMAGES, check_val_size


@pytest.mark.parametrize(
    ("rule", "good", "bad"),
    [
        (integer(0), [0, 7], [-1, 1.0, True, "1", None, math.nan, [1]]),
        (number(above=0), [1, 1e-9, 2.5], [0, -1, math.nan, math.inf, True, "1", None]),
        (number(at_least=0, below=1), [0, 0.999], [1, -0.1]),
        (one_of(True, False), [True, False], [1, 0, "true", None]),
        (optional(integer(1)), [None, 3], [0, "x"]),
        (several(integer(1)), [[1], (1, 2)], [[], 1, [0], "12", [1, None]]),
        (several(integer(1), count=2), [[1, 2]], [[1], [1, 2, 3]]),
        (text, ["x"], ["", 1, None]),
        (seed, [0, 2**32 - 1], [-1, 2**32, 1.0]),
        (
            name,
            ["a b", "2026-01-31_12-00-00", "ü=3,b", 3, 0.5],
            ["", " ", "..", "a/b", "\n", "x" * 256, None, [1]],
        ),
    ],
)
def test_rules(rule: Rule, good: list[Any], bad: list[Any]) -> None:
    assert [value for value in good if not rule.accepts(value)] == []
    assert [value for value in bad if rule.accepts(value)] == []
    assert rule.allowed


def test_an_error_names_key_value_and_what_is_allowed_in_one_line() -> None:
    with pytest.raises(InputError, match=r"^model\.latent_dim=0: must be a whole number of at least 1$"):
        check({"latent_dim": 0}, {"latent_dim": integer(1)}, "model.")
    with pytest.raises(
        InputError, match=r"^model\.latnt: there is no such name; did you mean latent\? allowed: latent"
    ):
        check_choice("model.latnt", "latnt", ["latent", "widths"])
    with pytest.raises(InputError, match=r"^lr=3: there is no such name; did you mean optimizer\.lr\? allowed: prior$"):
        check_choice("lr=3", "lr", ["prior"], elsewhere=["data", "optimizer.lr", "schedule.lr"])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"seed": 10**399}, "seed=10000000000000000000... (400 digits): must be a number that fits in 64 bits"),
        ({"model": {"widths": [8, -(2**63) - 1]}}, "model.widths=-9223372036854775809... (20 digits)"),
    ],
)
def test_numbers_that_no_library_takes_are_refused(content: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(said)}"):
        check_digits(content)
    check_digits({"a": [2**63 - 1, -(2**63)], "b": 1e300, "c": None})


PACKAGE = Path(vae_lightning.__file__).parent
TARGETS = [
    f"vae_lightning.{path.parent.name}.{name}"
    for path in sorted(PACKAGE.glob("*/rules.py"))
    for name in getattr(import_module(f"vae_lightning.{path.parent.name}.rules"), "RULES", {})
    if name[0].isupper()
]

# The arguments that the VAE adds, by folder.
SIZES = {
    "networks": ("image_shape", "latent_dim", "outputs"),
    "posteriors": ("latent_dim",),
    "priors": ("image_shape", "latent_dim"),
}


@pytest.mark.parametrize("target", TARGETS)
def test_every_argument_of_a_constructor_has_a_rule_and_a_default_that_passes(target: str) -> None:
    constructor, rules = pkgutil.resolve_name(target), rules_of(target)
    assert rules is not None
    if not rules and "__init__" not in vars(constructor):
        return  # its base's takes anything
    parameters = dict(inspect.signature(constructor).parameters)
    bases = iter(base for base in constructor.__mro__[1:] if "__init__" in vars(base))
    while parameters.pop("options", None):  # the arguments of the base
        parameters = dict(inspect.signature(next(bases)).parameters) | parameters
    for argument in SIZES.get(target.split(".")[1], ()):
        parameters.pop(argument, None)
    assert set(parameters) == set(rules)
    defaults = {name: parameter.default for name, parameter in parameters.items()}
    needed = [name for name, default in defaults.items() if default is inspect.Parameter.empty]
    if not target.startswith("vae_lightning.schedules."):  # whose steps depend on the data
        assert needed in ([], ["path"], ["directory"], ["table", "picture"])
    check({name: default for name, default in defaults.items() if name not in needed}, rules)


@pytest.mark.parametrize("path", sorted(CONF.rglob("*.yaml")), ids=lambda path: str(path.relative_to(CONF)))
def test_a_configuration_says_what_it_is_and_lists_every_argument(path: Path, composed: Compose) -> None:
    content = path.read_text()
    assert content.startswith("#")
    loaded = yaml.safe_load(content)
    if path.parent.name == "data":  # they may build on one another
        loaded = OmegaConf.to_container(composed(f"data={path.stem}").data)
    for node in (loaded, *loaded.values()):
        rules = rules_of(str(node.get("_target_"))) if isinstance(node, dict) else None
        if rules is not None:
            assert set(node) - {"_target_"} == set(rules)


@pytest.mark.parametrize(("name", "rules"), [("evaluate", EVALUATE), ("encode", ENCODE), ("export", EXPORT)])
def test_every_key_of_a_command_has_a_rule_and_a_default_that_passes(name: str, rules: dict[str, Rule]) -> None:
    content = yaml.safe_load((CONF / f"{name}.yaml").read_text())
    protocols = [yaml.safe_load(path.read_text()) for path in (CONF / "protocol").glob("*.yaml")]
    for protocol in protocols if name == "evaluate" else [{}]:
        assert not set(content) & set(protocol)
        assert {*content, *protocol} - {"defaults", "hydra", "data"} == set(rules)
        check(content | protocol, rules)


def test_the_numbers_of_training_images_are_those_of_the_sets(digits: tuple[LabelledImages, LabelledImages]) -> None:
    sizes: list[tuple[dict[str, Any], int]] = [({"_target_": "MNIST5kDataModule"}, len(digits[0].labels))]
    for published in PublishedDataModule.__subclasses__():
        for split in EMNIST_IMAGES if published is EMNISTDataModule else [None]:
            data = published() if split is None else EMNISTDataModule(split=split)
            node = {"_target_": published.__name__} | ({} if split is None else {"split": split})
            sizes.append((node, next(iter(data.files.values()))[0]))
    assert len(sizes) == 4 + len(EMNIST_IMAGES)
    for node, size in sizes:
        for package in ("vae_lightning.data", "vae_lightning"):  # the earlier name too
            given = node | {"_target_": f"{package}.{node['_target_']}"}
            check_val_size(given | {"val_size": size - 1})
            with pytest.raises(InputError, match=f"whole number from 0 to {size - 1}, because .* has {size} images"):
                check_val_size(given | {"val_size": size})
