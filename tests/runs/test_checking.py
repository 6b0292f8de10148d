"""Configurations as they are composed: keys that are missing, unknown or no names."""

from collections.abc import Callable

import pytest
from conftest import Compose
from omegaconf import open_dict

from vae_lightning import InputError
from vae_lightning.config.resolving import resolved
from vae_lightning.runs.checking import check_composed, check_config
from vae_lightning.runs.rules import GROUPS

Check = Callable[..., None]


@pytest.fixture
def checked(multirun: Compose) -> Check:
    """``checked(*overrides)`` composes and checks."""

    def check(*overrides: str) -> None:
        cfg = multirun(*overrides)
        hydra = cfg.hydra
        with open_dict(cfg):
            del cfg["hydra"]
            cfg.run_dir = "run"
        check_composed(cfg, hydra)
        check_config(resolved(cfg))

    return check


@pytest.mark.parametrize("key", [*GROUPS, "seed", "restart", "sweep", "sweep.objective", "sweep.on_failure"])
def test_a_key_that_every_run_needs_must_not_be_removed(key: str, checked: Check) -> None:
    with pytest.raises(InputError, match=f"^{key}: must not be removed"):
        checked(f"~{key}")


@pytest.mark.parametrize("key", ["data.val_size", "data.batch_size", "model.latent_dim", "trainer.max_epochs"])
def test_a_key_with_a_default_may_be_removed(key: str, checked: Check) -> None:
    checked(f"~{key}")
    checked("data=emnist", "~data.split")


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["+max_epochs=7"], r"max_epochs=7: there is no such name; did you mean trainer\.max_epochs\?"),
        (["+optimiser={lr:3}"], r"optimiser={'lr': 3}: there is no such name; did you mean optimizer\?"),
        (["+foo=3"], r"foo=3: there is no such name; allowed: callbacks"),
        (["+sweep.nme=x"], r"sweep\.nme=x: there is no such name; did you mean name\?"),
        (["sweep=3"], r"sweep=3: must be a mapping of axes, name, objective, on_failure"),
        (["hydra.job.name=../x"], r"hydra\.job\.name=\.\./x: must be a name for a folder or file"),
        (["resume=[x]"], r"resume=\['x'\]: must be a non-empty string, or null"),
        ([f"optimizer.lr={'9' * 400}"], r"optimizer\.lr=9{20}\.\.\. \(400 digits\): must be a number that fits"),
        ([f"seed={'9' * 400}"], r"seed=9{20}\.\.\."),
    ],
)
def test_a_key_without_effect_and_a_value_that_nothing_takes_are_refused(
    overrides: list[str], said: str, checked: Check
) -> None:
    with pytest.raises(InputError, match=f"^{said}"):
        checked(*overrides)


@pytest.mark.parametrize("value", ["''", "' '", ".", "..", "null", "../../x", "a/b", "[1]", "x" * 300])
def test_the_name_of_a_sweep_is_the_name_of_a_folder(value: str, checked: Check) -> None:
    with pytest.raises(InputError, match=r"^sweep\.name=.*: must be a name for a folder or file, without /$"):
        checked(f"sweep.name={value}")


def test_custom_keys_are_allowed_where_they_have_an_effect(checked: Check) -> None:
    checked("+_mine=3")
    checked("+mine=3", "model.latent_dim=${mine}")
    checked("+mine={dim:3}", "model.latent_dim=${mine.dim}")
