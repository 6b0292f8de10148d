"""Rules found by convention, constructors checked by them, and names of earlier versions."""

import importlib
import pkgutil
import subprocess
import sys
from typing import Any

import pytest
import torch

from vae_lightning import VAE, InputError
from vae_lightning.config.arguments import checked
from vae_lightning.config.moved_names import MOVED, current_name, with_current_names
from vae_lightning.config.targets import build, check_targets, find_class, rules_of
from vae_lightning.objectives import BetaELBO, Objective

OWN_RULES = """
from vae_lightning.config.rules import integer

RULES = {"Layers": {"depth": integer(at_least=1)}, "double": {"number": integer(at_least=0)}}
"""
OWN_MODULE = """
from vae_lightning.config.arguments import checked


class Layers:
    @checked
    def __init__(self, depth: int = 2, *, name: str = "layers") -> None:
        self.depth = depth


class Deeper(Layers):
    pass


@checked
def double(number: int) -> int:
    return 2 * number
"""


@pytest.fixture(scope="module")
def own_package(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a custom package with rules beside its classes."""
    folder = tmp_path_factory.mktemp("path")
    networks = folder / "own_package" / "networks"
    networks.mkdir(parents=True)
    for part in (networks, networks.parent):
        (part / "__init__.py").write_text("")
    (networks / "rules.py").write_text(OWN_RULES)
    (networks / "layers.py").write_text(OWN_MODULE)
    sys.path.append(str(folder))
    return "own_package.networks"


def test_a_custom_package_has_rules_of_its_own(own_package: str) -> None:
    target = f"{own_package}.layers.Layers"
    check_targets({"model": {"encoder": {"_target_": target, "depth": 1}}})
    with pytest.raises(InputError, match=r"^model\.encoder\.depth=0: must be a whole number of at least 1$"):
        check_targets({"model": {"encoder": {"_target_": target, "depth": 0}}})
    with pytest.raises(InputError, match=r"^encoder\.dept=1: there is no such name; did you mean depth\? allowed: dep"):
        check_targets({"encoder": {"_target_": target, "dept": 1}})
    check_targets({"encoder": {"_target_": f"{own_package}.layers.Deeper", "dept": 1}})  # has no rules


def test_arguments_are_checked_with_their_defaults_and_kept(own_package: str) -> None:
    layers = importlib.import_module(f"{own_package}.layers")
    with pytest.raises(InputError, match=r"^depth=0: must be"):
        layers.Layers(0)
    with pytest.raises(InputError, match=r"^depth=0: must be"):
        layers.Deeper(depth=0)
    assert layers.Layers(3).arguments == {"depth": 3, "name": "layers"}
    assert layers.Layers(depth=3, name="x").arguments == {"depth": 3, "name": "x"}
    assert layers.double(4) == 8
    with pytest.raises(InputError, match=r"^number=-1: must be"):
        layers.double(-1)


def test_kept_arguments_are_plain() -> None:
    class Keeps:
        arguments: dict[str, Any]

        @checked
        def __init__(self, sizes: tuple[int, ...] = (1, 2), node: object = None) -> None:
            pass

    assert Keeps(node={"a": 1}).arguments == {"sizes": [1, 2], "node": {"a": 1}}
    assert VAE(widths=(4,), latent_dim=2).hparams["widths"] == [4]


def test_rules_are_found_without_importing_the_class() -> None:
    script = "import sys; from vae_lightning.config.targets import rules_of; "
    script += "assert rules_of('vae_lightning.models.VAE') and rules_of('vae_lightning.models.vae.VAE'); "
    script += (
        "assert rules_of('torch.optim.Adam') is None and rules_of('nowhere.Else') is None and rules_of('') is None; "
    )
    script += "assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", script]).returncode == 0
    assert rules_of("vae_lightning.objectives.BetaELBO") is rules_of("vae_lightning.objectives.beta.BetaELBO")


@pytest.mark.parametrize(
    "target", ["nowhere.Objective", "os.system", "vae_lightning.schedules.Constant", "x", "", None]
)
def test_another_class_is_refused(target: object) -> None:
    with pytest.raises(InputError, match=r"^target=.*: must be the full name of a subclass of Objective"):
        find_class("target", target, Objective)  # type: ignore[type-abstract]


def test_a_refused_argument_names_the_node() -> None:
    node = {"_target_": "vae_lightning.objectives.BetaELBO", "beta": -1}
    with pytest.raises(InputError, match=r"^objective: beta=-1: must be a finite number at least 0$"):
        build("objective", node, Objective)  # type: ignore[type-abstract]


@pytest.mark.parametrize("earlier", MOVED)
def test_an_earlier_name_is_the_class_or_function_of_today(earlier: str) -> None:
    today = pkgutil.resolve_name(MOVED[earlier])
    assert pkgutil.resolve_name(current_name(earlier)) is today
    module, _, name = earlier.rpartition(".")
    # A user's own class may import it, and Hydra may look it up by itself.
    assert getattr(importlib.import_module(module), name) is today


def test_an_earlier_module_has_no_other_names() -> None:
    with pytest.raises(ImportError, match="cannot import name 'Nothing'"):
        exec("from vae_lightning.figures import Nothing")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("vae_lightning.nothing")


def test_configurations_are_compared_by_todays_names() -> None:
    earlier = {"a": [{"_target_": "vae_lightning.figures.Figures"}], "_target_": "vae_lightning.VAE", "n": 1}
    today = {"a": [{"_target_": "vae_lightning.callbacks.Figures"}], "_target_": "vae_lightning.models.VAE", "n": 1}
    assert with_current_names(earlier) == today
    assert with_current_names(today) == today


def test_a_model_of_earlier_names_is_todays() -> None:
    objective = {"_target_": "vae_lightning.objectives.beta_elbo.BetaELBO", "beta": 4}
    vae = VAE(latent_dim=2, widths=(4,), objective=objective)
    assert isinstance(vae.objective, BetaELBO)
    posterior = vae.encode(torch.rand(3, 1, 28, 28))
    assert posterior.mu is posterior.mean
