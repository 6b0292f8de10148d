"""Sizes beyond the memory are refused by name, before torch is imported."""

from typing import Any

import pytest
from conftest import composing
from hydra import compose

from vae_lightning import InputError
from vae_lightning.config.refusal import refuse
from vae_lightning.config.resolving import resolved
from vae_lightning.memory import check_memory
from vae_lightning.runs.checking import check_config


def config(*overrides: str) -> dict[str, Any]:
    with composing():
        return resolved(compose("train", ["run_dir=run", "sweep.name=test", *overrides]))


@pytest.mark.parametrize(
    ("key", "value", "groups"),
    [
        ("model.widths", "[1000000000000]", []),
        ("model.widths", "[1000000,10000000]", []),
        ("model.decoder_widths", "[10000000,1000000]", []),
        ("model.latent_dim", "1000000000000", []),
        ("model.image_shape", "[1,1000000,1000000]", []),
        ("model.encoder.channels", "[1000000,10000000]", ["model=conv"]),
        ("model.decoder.blocks", "1000000000000", ["model=residual"]),
        ("objective.samples", "1000000000000", ["objective=iwae"]),
        ("callbacks.figures.samples", "1000000000000", []),
        ("trainer.devices", "1000000", []),
    ],
)
def test_a_size_beyond_the_memory_is_refused(key: str, value: str, groups: list[str]) -> None:
    with pytest.raises(InputError, match=rf"^{key}=.*: must be smaller, because it takes at least .* GB") as caught:
        check_config(config(*groups, f"{key}={value}"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("overrides", [["model.widths=[4096,4096]"], ["data.batch_size=1000000000000"]])
def test_a_size_that_fits_is_accepted(overrides: list[str]) -> None:
    check_config(config(*overrides))


@pytest.mark.parametrize("node", ["callbacks.curves=text", "+callbacks.mine=[1]", "+logger.mine=1"])
def test_a_part_that_is_no_mapping_is_refused(node: str) -> None:
    with pytest.raises(InputError, match="must be a mapping with _target_"):
        check_config(config(node))


@pytest.mark.parametrize("sweep", [None, 5, {"axes": 5}, {"axes": [1]}])
def test_a_stored_sweep_that_is_none_is_refused(sweep: object) -> None:
    with pytest.raises(InputError, match=r"^sweep.*: must be a (mapping|list)"):
        check_config({**config(), "sweep": sweep})


def test_the_limit_is_that_of_the_machine() -> None:
    check_memory("small=1", 1)
    with pytest.raises(InputError, match=r"^large=1: must be smaller"):
        check_memory("large=1", 10**18)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (OSError(28, "No space left on device"), 1),
        (OSError("the checkpoint cannot be written"), 1),
        (MemoryError(), 1),
        (PermissionError(13, "Permission denied"), 2),
        (OSError(36, "File name too long"), 2),
        (InputError("seed=-1: must be at least 0"), 2),
    ],
)
def test_a_failure_of_the_machine_has_another_status_than_bad_input(error: Exception, status: int) -> None:
    with pytest.raises(SystemExit) as caught:
        refuse(error)
    assert caught.value.code == status
